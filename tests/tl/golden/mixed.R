# Golden numbers of tests/tl/test_mixed.py. Run in this folder: Rscript mixed.R
# R 4.2, lme4 1.1-31, lmerTest 3.1-3; reads cohort_*.csv, which cohort.R made.
suppressMessages({library(lme4); library(lmerTest)})
options(digits = 15)
wide <- function(x, name) write.csv(format(x, digits = 15, trim = TRUE), paste0("mixed_", name, ".csv"), row.names = FALSE, quote = FALSE)
quiet <- function(x) suppressMessages(suppressWarnings(x))
glmer_tight <- function(formula, d) quiet(glmer(formula, d, family = binomial,
  control = glmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 1e5, rhoend = 1e-9))))

# One sample a patient: a random intercept a sample.
sheet <- read.csv("cohort_sheet.csv"); counts <- read.csv("cohort_counts.csv")
sheet$n <- tapply(counts$n, counts$sample_id, sum)[sheet$sample_id]
one <- do.call(rbind, lapply(1:25, function(g) {
  k <- setNames(counts$n[counts$cluster == g], counts$sample_id[counts$cluster == g])
  d <- cbind(sheet, k = k[sheet$sample_id])
  fit <- glmer_tight(cbind(k, n - k) ~ group + batch + (1 | sample_id), d)
  data.frame(cluster = g, logit = fixef(fit)["groupR"], se = sqrt(vcov(fit, use.hessian = FALSE)["groupR", "groupR"]),
             sd_sample = attr(VarCorr(fit)$sample_id, "stddev"), loglik = as.numeric(logLik(fit)),
             p = coef(summary(fit))["groupR", 4])
}))
wide(one, "glmm")

# Three timepoints of eight patients in two groups: random intercepts of patient and sample.
set.seed(7)
long <- read.csv("cohort_long_sheet.csv")
long$n <- round(exp(runif(24, log(800), log(15000))))
share <- c(0.3, 0.12, 0.05, 0.02, 0.008, 0.004)
found <- list(); table <- list()
for (g in seq_along(share)) {
  eta <- qlogis(share[g]) + rnorm(8, 0, 0.5)[match(long$patient_id, unique(long$patient_id))] + rnorm(24, 0, 0.25) +
    0.6 * (g == 2) * (long$group == "R") + 0.4 * (g %% 2) * (long$timepoint == "t2")
  d <- cbind(long, k = rbinom(24, long$n, plogis(eta)))
  fit <- glmer_tight(cbind(k, n - k) ~ group + timepoint + (1 | patient_id) + (1 | sample_id), d)
  v <- vcov(fit, use.hessian = FALSE)
  for (name in c("groupR", "timepointt2"))
    found[[length(found) + 1]] <- data.frame(cluster = g, coefficient = name, logit = fixef(fit)[name], se = sqrt(v[name, name]),
      sd_sample = attr(VarCorr(fit)$sample_id, "stddev"), sd_patient = attr(VarCorr(fit)$patient_id, "stddev"),
      loglik = as.numeric(logLik(fit)))
  table[[g]] <- data.frame(sample_id = d$sample_id, cluster = g, n = d$k, total = d$n)
}
wide(do.call(rbind, found), "glmm_long")
write.csv(do.call(rbind, table), "mixed_long_counts.csv", row.names = FALSE, quote = FALSE)

# Medians of the same 24 samples: random intercept of the patient, restricted likelihood, Satterthwaite; with weights and gaps.
med <- read.csv("cohort_long_medians.csv")
weight <- round(exp(runif(nrow(med), log(20), log(3000)))); gap <- runif(nrow(med)) < 0.06
med$n <- weight; med$median[gap] <- NA
write.csv(format(med, digits = 17, trim = TRUE), "mixed_medians.csv", row.names = FALSE, quote = FALSE)
linear <- function(weighted) do.call(rbind, lapply(sort(unique(med$cluster)), function(g) {
  d <- merge(med[med$cluster == g, ], read.csv("cohort_long_sheet.csv"))
  d <- d[!is.na(d$median), ]; d$w <- if (weighted) d$n else 1
  fit <- quiet(lmer(median ~ group * timepoint + (1 | patient_id), d, weights = w, REML = TRUE,
    control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10), check.conv.singular = "ignore")))
  s <- coef(summary(fit))
  out <- lapply(c("groupR", "timepointt2", "groupR:timepointt2"), function(name) data.frame(cluster = g, coefficient = name,
    effect = s[name, 1], se = s[name, 2], df = s[name, 3], t = s[name, 4], p = s[name, 5],
    sd_patient = attr(VarCorr(fit)$patient_id, "stddev"), sd_rest = sigma(fit)))
  do.call(rbind, out)
}))
wide(linear(FALSE), "lmer"); wide(linear(TRUE), "lmer_weights")
