# Makes consensus_codes.csv, consensus_samples.csv, consensus_matrix.csv and consensus_classes.csv beside this file.
#   Rscript consensus.R
# R 4.2.2, ConsensusClusterPlus 1.62.0 (Debian: r-bioc-consensusclusterplus). 24 points in 4 dimensions, in groups of unequal
# size and spread with two outliers, so that consensus and plain hierarchical clustering differ.
suppressMessages(library(ConsensusClusterPlus))
set.seed(11)
centres <- rbind(c(0, 0, 0, 0), c(2.2, 0, 0, 0), c(0, 2.4, 0, 0), c(2, 2, 1, 0))
group <- rep(1:4, c(9, 6, 4, 3))
codes <- centres[group, ] + matrix(rnorm(22 * 4, sd = 0.7), 22)
codes <- round(rbind(codes, c(5, 5, 0, 0), c(-3, 2, 4, 1)), 3)
write.table(codes, "consensus_codes.csv", sep = ",", row.names = FALSE, col.names = FALSE)

seed <- 42
reps <- 50
# The package draws its resamples this way from its seed and from nothing else: here they are, counted from 0.
set.seed(seed)
samples <- t(replicate(reps, sort(sample(nrow(codes), floor(nrow(codes) * 0.9)))))
write.table(samples - 1, "consensus_samples.csv", sep = ",", row.names = FALSE, col.names = FALSE)

matrices <- NULL
classes <- NULL
pdf(NULL)
for (linkage in c("average", "ward.D2", "complete")) {
  result <- suppressMessages(ConsensusClusterPlus(
    t(codes), maxK = 6, reps = reps, pItem = 0.9, pFeature = 1, clusterAlg = "hc", distance = "euclidean",
    innerLinkage = linkage, finalLinkage = linkage, seed = seed
  ))
  for (k in 2:6) {
    m <- result[[k]]$consensusMatrix
    pairs <- which(upper.tri(m), arr.ind = TRUE)
    matrices <- rbind(matrices, data.frame(
      linkage = linkage, k = k, i = pairs[, 1] - 1, j = pairs[, 2] - 1,
      consensus = sprintf("%.6f", m[upper.tri(m)])
    ))
    classes <- rbind(classes, data.frame(linkage = linkage, k = k, t(result[[k]]$consensusClass)))
  }
}
# pairs that were always apart are left out
matrices <- matrices[as.numeric(matrices$consensus) > 0, ]
write.csv(matrices, "consensus_matrix.csv", row.names = FALSE, quote = FALSE)
write.csv(classes, "consensus_classes.csv", row.names = FALSE, quote = FALSE)

# what plain hierarchical clustering says of the same points
plain <- NULL
for (linkage in c("average", "ward.D2", "complete")) {
  for (k in 2:6) {
    plain <- rbind(plain, data.frame(linkage = linkage, k = k, t(cutree(hclust(dist(codes), linkage), k))))
  }
}
write.csv(plain, "plain_classes.csv", row.names = FALSE, quote = FALSE)
