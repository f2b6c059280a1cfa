# Makes consensus_seeds_codes.csv, consensus_seeds_classes.csv and consensus_seeds_area.csv beside this file.
#   Rscript consensus_seeds.R
# R 4.2.2, ConsensusClusterPlus 1.62.0 (Debian: r-bioc-consensusclusterplus). 100 codes as of a map: k-means centres of
# 6,000 points in 12 populations of unequal size that overlap much, on 8 markers. Clustered with five seeds, as FlowSOM's
# authors do: 100 resamplings of 0.9 of the codes, average linkage inside and outside, 2 to 20 clusters.
suppressMessages(library(ConsensusClusterPlus))
set.seed(7)
sizes <- round(6000 * prop.table(exp(rnorm(12, 0, 1))))
centres <- matrix(rnorm(12 * 8, 2, 1.2), 12)
points <- centres[rep(1:12, sizes), ] + matrix(rnorm(sum(sizes) * 8, sd = 1), ncol = 8)
codes <- round(kmeans(points, 100, iter.max = 100)$centers, 4)
write.table(codes, "consensus_seeds_codes.csv", sep = ",", row.names = FALSE, col.names = FALSE)

# the area under the distribution of the consensus and its growth, as the package computes them for its plot
areas <- function(result) {
  area <- sapply(2:20, function(k) {
    m <- result[[k]]$consensusMatrix
    h <- hist(m[lower.tri(m)], plot = FALSE, breaks = seq(0, 1, by = 1 / 100))
    sum(cumsum(h$counts) / sum(h$counts) * diff(h$breaks))
  })
  data.frame(k = 2:20, area = area, delta_area = c(area[1], diff(area) / area[-length(area)]))
}

classes <- NULL
area <- NULL
pdf(NULL)
for (seed in 1:5) {
  result <- suppressMessages(ConsensusClusterPlus(
    t(codes), maxK = 20, reps = 100, pItem = 0.9, pFeature = 1, clusterAlg = "hc", distance = "euclidean",
    innerLinkage = "average", finalLinkage = "average", seed = seed
  ))
  for (k in 3:20) {
    classes <- rbind(classes, data.frame(seed = seed, k = k, t(unname(result[[k]]$consensusClass))))
  }
  area <- rbind(area, cbind(seed = seed, areas(result)))
}
names(classes)[-(1:2)] <- paste0("node", 0:99)
write.csv(classes, "consensus_seeds_classes.csv", row.names = FALSE, quote = FALSE)
area$area <- sprintf("%.8f", area$area)
area$delta_area <- sprintf("%.8f", area$delta_area)
write.csv(area, "consensus_seeds_area.csv", row.names = FALSE, quote = FALSE)

# the resamples of the first seed, drawn as the package draws them, counted from 0
set.seed(1)
samples <- t(replicate(100, sort(sample(100, 90))))
write.table(samples - 1, "consensus_seeds_samples.csv", sep = ",", row.names = FALSE, col.names = FALSE)
