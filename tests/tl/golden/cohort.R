# Golden numbers of tests/tl/test_abundance.py and test_state.py. Run in this folder: Rscript cohort.R
# R 4.2, limma 3.54.1, edgeR 3.40.2, statmod 1.5.0, lme4 1.1-31.
suppressMessages({library(limma); library(edgeR); library(lme4)})
set.seed(20240917)
out <- function(x, name) write.csv(x, paste0("cohort_", name, ".csv"), row.names = FALSE, quote = FALSE)

# Counts: 12 patients, two groups, two batches crossed with them, 25 clusters, four of which differ.
sheet <- data.frame(sample_id = paste0("s", 1:12), patient_id = paste0("p", 1:12),
                    group = rep(c("NR", "R"), each = 6), batch = rep(c("A", "B"), 6))
share <- sort(rgamma(25, 0.8)) + 0.002; share <- share / sum(share)
total <- round(exp(runif(12, log(800), log(15000))))
lfc <- c(1.5, 0, 0, -1.2, rep(0, 17), 0.8, 0, 0, -0.6)
counts <- t(sapply(1:25, function(g) {
  mu <- total * share[g] * exp(lfc[g] * (sheet$group == "R") + 0.3 * (sheet$batch == "B") * (g %% 3 == 0))
  rnbinom(12, mu = mu, size = 1 / runif(1, 0.08, 0.4))
}))
counts[2, sheet$group == "R"] <- 0
total <- colSums(counts)
out(sheet, "sheet")
out(data.frame(sample_id = rep(sheet$sample_id, each = 25), cluster = rep(1:25, 12), n = as.vector(counts)), "counts")

design <- model.matrix(~ group + batch, sheet)
y <- DGEList(counts, lib.size = total)
y <- estimateDisp(y, design, trend.method = "none")
lrt <- glmLRT(glmFit(y, design), coef = 2)
common <- estimateGLMCommonDisp(DGEList(counts, lib.size = total), design)$common.dispersion
ql <- glmQLFTest(glmQLFit(DGEList(counts, lib.size = total), design, dispersion = common, abundance.trend = FALSE), coef = 2)
out(data.frame(cluster = 1:25, logFC = ql$table$logFC, F = ql$table$F, p = ql$table$PValue,
               lrt_logFC = lrt$table$logFC, lrt_p = lrt$table$PValue), "edger")
out(data.frame(common_dispersion = y$common.dispersion, used = common, df_prior = ql$df.prior[1]), "edger_common")

# Binomial mixed model, one random effect a sample (diffcyt's GLMM): the logits of tl.abundance(method="binomial").
glmm <- t(sapply(1:25, function(g) {
  d <- data.frame(sheet, k = counts[g, ], n = total)
  fit <- suppressMessages(suppressWarnings(glmer(cbind(k, n - k) ~ group + batch + (1 | sample_id), d, family = binomial)))
  coef(summary(fit))["groupR", ]
}))
out(data.frame(cluster = 1:25, logit = glmm[, 1], se = glmm[, 2], p = glmm[, 4]), "glmm")

# Medians: 40 rows, noise with a variance of its own each, weights, some missing.
sd <- sqrt(1 / rgamma(40, 4, 4 * 0.04))
e <- matrix(rnorm(40 * 12), 40) * sd + rep(runif(40, 0, 4), 12)
e[1:5, sheet$group == "R"] <- e[1:5, sheet$group == "R"] + 0.8
n <- matrix(round(exp(runif(40 * 12, log(20), log(5000)))), 40)
long <- function(e, n, samples) data.frame(sample_id = rep(samples, each = nrow(e)), cluster = rep(1:nrow(e), ncol(e)),
  marker = "m", median = as.vector(e), n = as.vector(n))
write.csv(format(long(e, n, sheet$sample_id), digits = 17, trim = TRUE), "cohort_medians.csv", row.names = FALSE, quote = FALSE)
top <- function(fit, coef) {
  fit <- eBayes(fit)
  half <- sqrt(fit$s2.post) * fit$stdev.unscaled[, coef] * qt(0.975, fit$df.total)
  data.frame(cluster = 1:nrow(fit), effect = fit$coefficients[, coef], low = fit$coefficients[, coef] - half,
    high = fit$coefficients[, coef] + half, t = fit$t[, coef], df = fit$df.total, p = fit$p.value[, coef])
}
wide <- function(x, name) write.csv(format(x, digits = 15, trim = TRUE), paste0("cohort_", name, ".csv"), row.names = FALSE, quote = FALSE)
wide(top(lmFit(e, design), "groupR"), "limma_none")
wide(top(lmFit(e, design, weights = n), "groupR"), "limma_cells")

# Three timepoints of eight patients in two groups; the patient as random block (one correlation) and as fixed block.
long_sheet <- data.frame(sample_id = paste0("l", 1:24), patient_id = rep(paste0("p", 1:8), each = 3),
  group = rep(c("NR", "R"), each = 12), timepoint = rep(c("t0", "t1", "t2"), 8))
patient <- matrix(rnorm(40 * 8, 0, 0.3), 40)[, rep(1:8, each = 3)]
f <- matrix(rnorm(40 * 24, 0, 0.25), 40) + patient + rep(runif(40, 0, 4), 24)
f[1:5, long_sheet$timepoint == "t2"] <- f[1:5, long_sheet$timepoint == "t2"] + 0.5
out(long_sheet, "long_sheet")
write.csv(format(long(f, matrix(500, 40, 24), long_sheet$sample_id), digits = 17, trim = TRUE), "cohort_long_medians.csv", row.names = FALSE, quote = FALSE)
d <- model.matrix(~ group + timepoint, long_sheet)
rho <- duplicateCorrelation(f, d, block = long_sheet$patient_id)$consensus.correlation
wide(cbind(top(lmFit(f, d, block = long_sheet$patient_id, correlation = rho), "groupR"), rho = rho), "limma_random")
d <- model.matrix(~ timepoint + patient_id, long_sheet)
wide(top(lmFit(f, d), "timepointt2"), "limma_fixed")
