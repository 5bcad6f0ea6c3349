#!/bin/sh
# Makes report pages (by hand-made results and by a real small run) and checks them in a browser.
#   tests/browser/run.sh TEST_REPORT FLEETSIM FOLDER
# Exit 77: skipped, there is no node or no Chromium.
set -eu
command -v node >/dev/null || { echo "skipped: no node on this machine"; exit 77; }
here=$(dirname "$0")
mkdir -p "$3/pages"
FLEETSIM_EXAMPLE_PAGES="$3/pages" "$1" "[.pages]" >/dev/null
"$2" run "$here/../../scenarios/tiny-teaching.yaml" --out "$3/tiny" >/dev/null
cp "$3/tiny/report.html" "$3/pages/tiny.html"
"$2" breakdown --model llama-3.1-8b --gpu h100 --out "$3/breakdown_1" >/dev/null
"$2" breakdown --model llama-3.1-70b --gpu h100 --tp 4 --precision fp8 --out "$3/breakdown_4" >/dev/null
for gpus in 1 4; do cp "$3/breakdown_$gpus/breakdown.html" "$3/pages/breakdown_$gpus.html"; done
exec node "$here/report_in_browser.mjs" --shots "$3/shots" "$3"/pages/*.html
