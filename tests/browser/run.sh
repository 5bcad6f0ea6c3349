#!/bin/sh
# Makes report pages (by hand-made results and by a real small run) and checks them in a browser.
#   tests/browser/run.sh TEST_REPORT TEST_VALIDATION FLEETSIM FOLDER
# Exit 77: skipped, there is no node or no Chromium.
set -eu
command -v node >/dev/null || { echo "skipped: no node on this machine"; exit 77; }
here=$(dirname "$0")
fleetsim=$3 out=$4
mkdir -p "$out/pages"
for pages in "$1" "$2"; do FLEETSIM_EXAMPLE_PAGES="$out/pages" "$pages" "[.pages]" >/dev/null; done
"$fleetsim" run "$here/../../scenarios/tiny-teaching.yaml" --out "$out/tiny" >/dev/null
cp "$out/tiny/report.html" "$out/pages/tiny.html"
"$fleetsim" breakdown --model llama-3.1-8b --gpu h100 --out "$out/breakdown_1" >/dev/null
"$fleetsim" breakdown --model llama-3.1-70b --gpu h100 --tp 4 --precision fp8 --out "$out/breakdown_4" >/dev/null
for gpus in 1 4; do cp "$out/breakdown_$gpus/breakdown.html" "$out/pages/breakdown_$gpus.html"; done
exec node "$here/report_in_browser.mjs" --shots "$out/shots" "$out"/pages/*.html
