#!/usr/bin/env bash
# What a binary weighs, by section and by crate:
#
#   cross/sizes.sh <stripped> [<unstripped>]
#
# readelf reads every machine's files, so none of their own tools are needed.
set -euo pipefail
stripped=$1 symbols=${2:-}

printf '\n%s: %s bytes\n' "$stripped" "$(stat -c %s "$stripped")"
# Sections that take room in memory (flag A) from 1 KiB on.
readelf -SW "$stripped" | sed -n 's/^ *\[ *[0-9]*\] *//p' |
    awk 'function hex(s,  i, n) { n = 0; for (i = 1; i <= length(s); i++) n = n * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1; return n }
        $7 ~ /A/ && hex($5) >= 1024 { printf "  %-20s %9d\n", $1, hex($5) }'
[ -n "$symbols" ] || exit 0
echo "  by crate, from 4 KiB on (code and constants that have a name, in the crate that wrote them):"
# Rust's v0 names: the first crate root is where a thing was written: "C", a disambiguator, a length, the name.
readelf -sW "$symbols" | awk '
    ($4 == "FUNC" || $4 == "OBJECT") && $7 != "UND" && !seen[$2, $3]++ {
        crate = "(C library)"
        if ($8 ~ /^_R/ && match($8, /C(s[0-9A-Za-z]*_)?[0-9]+/)) {
            len = substr($8, RSTART, RLENGTH); rest = substr($8, RSTART + RLENGTH)
            sub(/^C(s[0-9A-Za-z]*_)?/, "", len); sub(/^_/, "", rest)
            crate = substr(rest, 1, len)
        }
        size[crate] += $3
    }
    END { for (c in size) if (size[c] >= 4096) printf "%9d  %s\n", size[c], c }' | sort -rn | sed 's/^/  /'
