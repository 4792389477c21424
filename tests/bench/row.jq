# SPDX-License-Identifier: Apache-2.0
# One row of make bench for people: what was measured and where, ratios; below, the medians that they are made of, with spread.
def pad($n): . + (" " * ([0, $n - length] | max));
def digits($n): . * pow(10; $n) | round / pow(10; $n) | tostring;
def show: if . >= 1000 then digits(0) elif . >= 100 then digits(1) else digits(2) end;
def figure: "\(.name) \(.median | show) (\(.least | show) .. \(.most | show))";

(("\(.case), \(.placement)" | pad(36)) + ([.ratios | to_entries[] | "\(.value | digits(2)) x \(.key)"] | join("   "))),
"    \(.unit): \([.subjects[] | figure] | join("   "))   \(.note | split("; ")[0])",
(.note | split("; ")[1:][] | "    \(.)"),
(.skipped | to_entries[] | "    no \(.key): \(.value)")
