# Golden numbers of non-negative least squares: R's nnls (Lawson and Hanson, Mullen and van Stokkum) event by event.
# R 4.2.2, nnls 1.4 (Debian: r-cran-nnls). 150 events of Poisson counts, 25 channels of a measured matrix.
# Run in this folder: Rscript nnls.R
# nnls_matrix.csv is S (rows emit, columns receive), nnls_counts.csv are the counts, one row an event.
library(nnls)
spill <- as.matrix(read.csv("nnls_matrix.csv"))
counts <- as.matrix(read.csv("nnls_counts.csv"))
signals <- t(apply(counts, 1, function(y) nnls(t(spill), y)$x))
colnames(signals) <- colnames(counts)
write.csv(format(signals, digits = 15), "nnls_signals.csv", row.names = FALSE, quote = FALSE)
