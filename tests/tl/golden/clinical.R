# Numbers against which tests/tl/test_clinical.py holds survival, tests of groups and tables, and pooled shares.
# Made with R 4.2.2, survival 3.5-3, metafor 3.8-1 (Debian bookworm: r-base-core r-cran-survival r-cran-metafor):
#   Rscript clinical.R      in this folder; writes clinical_patients.csv and clinical_*.csv beside it
suppressMessages({library(survival); library(metafor)})
options(digits = 17)

set.seed(7)
n <- 60
patients <- data.frame(
  patient_id = sprintf("P%02d", 1:n),
  months = pmax(1, round(rexp(n, 1 / 20))),      # whole months: many ties
  event = rbinom(n, 1, 0.7),
  response = sample(c("CR", "PR", "SD"), n, replace = TRUE, prob = c(0.5, 0.3, 0.2)),
  age = round(rnorm(n, 58, 8)),
  log_dose = round(rnorm(n), 3)
)
patients$months[patients$response == "CR"] <- patients$months[patients$response == "CR"] + 6
write.csv(patients, "clinical_patients.csv", row.names = FALSE, quote = FALSE)

put <- function(x, name) {
  for (i in seq_along(x)) if (is.numeric(x[[i]])) x[[i]] <- sprintf("%.15g", x[[i]])
  write.csv(x, paste0("clinical_", name, ".csv"), row.names = FALSE, quote = FALSE)
}

fit <- survfit(Surv(months, event) ~ response, patients, conf.type = "log-log")
s <- summary(fit, censored = TRUE)
put(data.frame(group = sub("response=", "", s$strata), time = s$time, n_at_risk = s$n.risk, n_events = s$n.event,
               n_censored = s$n.censor, survival = s$surv, low = s$lower, high = s$upper), "kaplan_meier")
q <- quantile(fit, 0.5)
put(data.frame(group = sub("response=", "", rownames(q$quantile)), median = q$quantile[, 1], low = q$lower[, 1],
               high = q$upper[, 1]), "median")

numbers <- list()
add <- function(name, value) numbers[[length(numbers) + 1]] <<- data.frame(name = name, value = as.numeric(value))
three <- survdiff(Surv(months, event) ~ response, patients)
add("log_rank_3_statistic", three$chisq); add("log_rank_3_p", pchisq(three$chisq, 2, lower.tail = FALSE))
pair <- subset(patients, response != "SD")
two <- survdiff(Surv(months, event) ~ response, pair)
add("log_rank_2_statistic", two$chisq); add("log_rank_2_p", pchisq(two$chisq, 1, lower.tail = FALSE))

m <- coxph(Surv(months, event) ~ response + age + log_dose, patients, ties = "efron",
           control = coxph.control(eps = 1e-14, toler.chol = 1e-14, iter.max = 100))
k <- summary(m)
put(data.frame(term = names(coef(m)), coefficient = k$coefficients[, 1], se = k$coefficients[, 3],
               z = k$coefficients[, 4], p_value = k$coefficients[, 5], hazard_ratio = k$conf.int[, 1],
               low = k$conf.int[, 3], high = k$conf.int[, 4]), "cox")
add("cox_p_model", k$logtest["pvalue"])

cr <- pair$age[pair$response == "CR"]; pr <- pair$age[pair$response == "PR"]
for (kind in c("welch", "student")) {
  t <- t.test(cr, pr, var.equal = kind == "student")
  add(paste0(kind, "_statistic"), t$statistic); add(paste0(kind, "_df"), t$parameter); add(paste0(kind, "_p"), t$p.value)
  add(paste0(kind, "_low"), t$conf.int[1]); add(paste0(kind, "_high"), t$conf.int[2])
}
a <- c(60.5, 48, 36, 52, 71, 33.5); b <- c(12, 9, 20, 37, 41)   # no ties: exact
w <- wilcox.test(a, b, conf.int = TRUE, exact = TRUE)
add("rank_sum_statistic", w$statistic); add("rank_sum_p", w$p.value); add("rank_sum_effect", w$estimate)
add("rank_sum_low", w$conf.int[1]); add("rank_sum_high", w$conf.int[2])

tables <- list(ecog = matrix(c(8, 1, 3, 22, 31, 9), 3), iss = matrix(c(8, 1, 3, 25, 13, 18), 3),
               extramedullary = matrix(c(0, 12, 22, 40), 2), conditioning = matrix(c(8, 4, 58, 4), 2),
               igg = matrix(c(9, 3, 24, 38), 2), four = matrix(c(3, 0, 2, 5, 1, 4, 4, 0, 2, 1, 3, 6), 3))
for (name in names(tables)) {
  add(paste0(name, "_exact"), fisher.test(tables[[name]], workspace = 2e7)$p.value)
  c0 <- suppressWarnings(chisq.test(tables[[name]], correct = FALSE))
  add(paste0(name, "_chi2"), c0$p.value); add(paste0(name, "_statistic"), c0$statistic)
  if (nrow(tables[[name]]) == 2)
    add(paste0(name, "_chi2_corrected"), suppressWarnings(chisq.test(tables[[name]], correct = TRUE))$p.value)
}
put(do.call(rbind, numbers), "numbers")

studies <- data.frame(study = LETTERS[1:7], events = c(65, 20, 41, 12, 30, 9, 17), n = c(74, 24, 60, 12, 33, 20, 25),
                      target = c("BCMA", "BCMA", "BCMA", "CD19", "CD19", "CD19", "GPRC5D"))
pool <- function(part, name) {
  r <- rma(measure = "PLO", xi = events, ni = n, data = part, method = "DL")
  data.frame(pool = name, proportion = plogis(r$b[1]), low = plogis(r$ci.lb), high = plogis(r$ci.ub), tau2 = r$tau2,
             i2_pct = r$I2, q = r$QE, p_value = r$QEp)
}
pools <- rbind(pool(studies, "all"), pool(subset(studies, target == "BCMA"), "BCMA"),
               pool(subset(studies, target == "CD19"), "CD19"))
put(pools, "pooled")
write.csv(studies, "clinical_studies.csv", row.names = FALSE, quote = FALSE)
