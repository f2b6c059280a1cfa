#!/usr/bin/env bash
# Guess: The variance between studies by DerSimonian and Laird is at least 0, as in their paper and in R's meta and
#   metafor: where studies differ less than by chance, the random-effects pool is the fixed-effect one.
# What happens: combine_effects(method_re="dl") goes on with a negative variance: the interval of the pool is
#   narrower than that of the fixed effect. Where a study's own variance is smaller than the amount below 0, its
#   weight is negative: a large trial is subtracted from the pool. NumPy warns of a root, and nothing is said of the pool.
# Why it matters: Response rates of a few CAR-T trials are pooled on the logit scale, and trials that agree well are
#   what one hopes for. "Random effects" are chosen to be cautious, and here they are less cautious than fixed ones.
# Read: source of statsmodels 0.15.0 (stats/meta_analysis.py); DerSimonian & Laird 1986,
#   doi 10.1016/0197-2456(86)90046-2, equation for the variance between studies
# Versions: statsmodels==0.15.0, numpy==2.4.6, scipy==1.17.1, pandas==2.3.3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check statsmodels==0.15.0 numpy==2.4.6 scipy==1.17.1 pandas==2.3.3
cat >show.py <<'PY'
import sys
import warnings

import numpy as np
from statsmodels.stats.meta_analysis import combine_effects

responders, patients = np.array([50, 51, 49, 50]), 100
logit = np.log(responders / (patients - responders))
variance = 1 / responders + 1 / (patients - responders)
alike = combine_effects(logit, variance, method_re="dl")
print("variance between studies:", round(float(alike.tau2), 4))
print("standard error, random effects:", round(float(alike.sd_eff_w_re), 4))
print("standard error, fixed effect:  ", round(float(alike.sd_eff_w_fe), 4))

# The same with one large trial: its own variance is smaller than the amount below 0.
responders, patients = np.array([50, 51, 5000]), np.array([100, 100, 10_000])
logit = np.log(responders / (patients - responders))
variance = 1 / responders + 1 / (patients - responders)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    large = combine_effects(logit, variance, method_re="dl")
print("with a large trial: weights", np.round(large.weights_rel_re, 3), [str(w.message) for w in said])
as_seen = alike.tau2 < 0 and alike.sd_eff_w_re < alike.sd_eff_w_fe and large.weights_rel_re[2] < 0
sys.exit(0 if as_seen else "statsmodels treats studies that agree otherwise than stated above")
PY
env/bin/python show.py
