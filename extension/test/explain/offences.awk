# Reads a server's log with plans of auto_explain (log_analyze) and prints each plan that scans one of the tables, or reads more than so many rows of it,
# once, with how often it was seen. names: of applications, by spaces. tables: names, by |. exceptions: a file of lines, each a text, a tab, and
# a regular expression: it excuses a node like that in a statement that contains the text. Those that did so are appended to the file `used`.
BEGIN {
    while ((getline line < exceptions) > 0) {
        split(line, parts, "\t")
        excuse[line] = parts[1]
        node[line] = "^(" parts[2] ")$"
    }
    split(names, list, " ")
    for (i in list) wanted[list[i]] = 1
    scan = "(Seq Scan|(Index|Index Only|Bitmap Heap) Scan( Backward)?( using [a-z0-9_]+)?) on (" tables ")( |$)"
}
function judge(    i, j, offence, loops, rows, part) {
    for (i = 1; i <= lines; i++) {
        if (text[i] !~ /\(cost=/ || !match(text[i], scan)) continue
        offence = substr(text[i], RSTART, RLENGTH)
        sub(/ +$/, "", offence)
        rows = 0
        if (match(text[i], /actual rows=[0-9.]+ loops=[0-9]+/)) {
            split(substr(text[i], RSTART, RLENGTH), part, /[= ]/)
            loops = part[5]
            rows = part[3] * loops
            for (j = i + 1; j <= lines && text[j] !~ /\(cost=/; j++)
                if (match(text[j], /Rows Removed by [A-Za-z ]+: /))
                    rows += substr(text[j], RSTART + RLENGTH) * loops
        }
        if (offence ~ /^Seq Scan/ || rows > most) report(offence, rows)
    }
}
function report(offence, rows,    id, e) {
    for (e in excuse)
        if (index(query, excuse[e]) && offence ~ node[e]) {
            print e >> used
            return
        }
    id = offence query
    if (!(id in times)) {
        order[++n] = id
        what[id] = offence ": " rows " rows"
        first[id] = body
    }
    times[id]++
}
/^[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] / {
    if (ours) judge()
    name = $5
    sub(/.*\//, "", name)
    ours = / plan:$/ && name in wanted
    lines = 0
    planned = 0
    body = query = ""
    next
}
ours {
    line = $0
    sub(/^\t/, "", line)
    text[++lines] = line
    body = body line "\n"
    if (line ~ /\(cost=/) planned = 1
    if (!planned) {
        sub(/^Query Text: /, "", line)
        gsub(/[ \t]+/, " ", line)
        query = query " " line
    }
}
END {
    if (ours) judge()
    for (i = 1; i <= n; i++) printf "%s, seen %d times\n%s\n", what[order[i]], times[order[i]], first[order[i]]
}
