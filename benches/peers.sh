#!/bin/sh
# Tenure and its peers in turn, on this machine and in one run: durable renewals (64 and 256 clients) against Redis or
# Valkey with a script, against PostgreSQL with a row for each session, and against the bare store; introspection against
# GET with the server on one core (64 connections). Prints the conditions and the medians of the rounds.
#
#   benches/peers.sh [ROUNDS] [SECONDS]      TENURE=path/to/tenure   DIR=directory on the disk to measure
#
# Each client is beside its server on the same cores, with one thread, keep-alive, and one request under way for each
# connection. Each server syncs before it answers: Tenure's own barrier, appendfsync always, synchronous_commit on. What
# is not installed is installed where that is possible, and otherwise left out and named.
set -eu

rounds=${1:-5}
seconds=${2:-3}
tenure=${TENURE:-target/release/tenure}
port=${PORT:-17401}
[ -x "$tenure" ] || { echo "$tenure is not there: cargo build --release" >&2; exit 1; }

has() { command -v "$1" > /dev/null; }
install() { [ "$(id -u)" != 0 ] || ! has apt-get || apt-get install -y -qq "$@" > /dev/null || :; }
has redis-server || has valkey-server || install redis-server redis-tools
has pgbench || install postgresql
if has valkey-server; then redis=valkey; elif has redis-server; then redis=redis; else redis=; fi
pg=$(ls -d /usr/lib/postgresql/*/bin 2> /dev/null | tail -n 1)
[ -n "$redis" ] || echo "neither Redis nor Valkey is here: left out" >&2
[ -n "$pg" ] || echo "PostgreSQL is not here: left out" >&2

dir=$(mktemp -d "${DIR:-.}/peers-XXXXXX")
chmod 755 "$dir"
dir=$(cd "$dir" && pwd)
started=
stop() {
    # What runs as another user does not hear that its starter ends.
    [ ! -d "$dir/rows" ] || (cd / && as_postgres "$pg/pg_ctl" -D "$dir/rows" -m immediate stop) > /dev/null 2>&1 || :
    for pid in $started; do kill "$pid" 2> /dev/null || :; done
    wait
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 1' INT TERM

# --- servers -------------------------------------------------------------------------------------------

redis_durable=$port redis_memory=$((port + 1)) ours_durable=$((port + 2)) ours_memory=$((port + 3)) rows=$((port + 4))

start() { # log file, command …
    log=$1
    shift
    "$@" > "$dir/$log" 2>&1 &
    started="$started $!"
}
# PostgreSQL does not run as root.
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

if [ -n "$redis" ]; then
    mkdir "$dir/redis"
    start redis1.log $redis-server --port $redis_durable --bind 127.0.0.1 --dir "$dir/redis" --save '' \
        --appendonly yes --appendfsync always
    start redis2.log taskset -c 0 $redis-server --port $redis_memory --bind 127.0.0.1 --dir "$dir" --save '' \
        --appendonly no
fi
if [ -n "$pg" ]; then
    mkdir "$dir/rows"
    [ "$(id -u)" != 0 ] || chown postgres "$dir/rows"
    as_postgres "$pg/initdb" -D "$dir/rows" -U bench --auth=trust -N > "$dir/initdb.log"
    start postgres.log as_postgres "$pg/postgres" -D "$dir/rows" -p $rows -h 127.0.0.1 -k '' \
        -c synchronous_commit=on -c fsync=on -c max_connections=300 -c shared_buffers=256MB
fi
start ours1.log "$tenure" serve --data "$dir/durable" --listen 127.0.0.1:$ours_durable --test-clock --log warn
start ours2.log taskset -c 0 "$tenure" serve --data "$dir/memory" --listen 127.0.0.1:$ours_memory \
    --test-clock --log warn

rows() { PGHOST=127.0.0.1 PGPORT=$rows PGUSER=bench PGDATABASE=postgres "$@"; }
is_ready() {
    [ -s "$dir/durable/admin.key" ] && [ -s "$dir/memory/admin.key" ] || return 1
    [ -z "$pg" ] || rows "$pg/pg_isready" -q || return 1
    [ -z "$redis" ] || { $redis-cli -p $redis_durable ping && $redis-cli -p $redis_memory ping; } > /dev/null 2>&1
}
tries=0
until is_ready; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { cat "$dir"/*.log >&2; exit 1; }
    sleep 0.1
done

# --- one round of each: prints "calls-per-second p99-milliseconds" ----------------------------------------

token=$(printf '%0250d' 7)
requests=$((seconds * 25000))

# What a renewal is: compare the token, replace it, count, write the fact down.
cat > "$dir/renew.lua" <<'LUA'
local held = redis.call('HGET', KEYS[1], 'token')
if held and held ~= ARGV[1] then return redis.error_reply('MISMATCH') end
redis.call('HSET', KEYS[1], 'token', ARGV[2], 'expires', ARGV[3])
local count = redis.call('HINCRBY', KEYS[1], 'renewals', 1)
redis.call('XADD', 'renewed', '*', 'session', KEYS[1], 'count', count)
return count
LUA
# A row says only what a session is now, so this peer keeps no history.
cat > "$dir/renew.sql" <<'SQL'
\set id random(1, 20000)
UPDATE sessions SET token = :token, expires = 1795311300000, renewals = renewals + 1 WHERE id = :id AND token = :token;
SQL
if [ -n "$pg" ]; then
    rows psql -q -c 'CREATE TABLE sessions (id int PRIMARY KEY, token text, expires bigint, renewals int)' \
        -c "INSERT INTO sessions SELECT n, '$token', 0, 0 FROM generate_series(1, 20000) n" -c 'VACUUM ANALYZE sessions'
fi

redis_figures() { tail -n 1 | tr -d '"' | awk -F, '{ print $(NF - 6), $(NF - 1) }'; }
ours_figures() { sed 's/.*"p99Millis":\([0-9.]*\),"perSecond":\([0-9.]*\).*/\2 \1/'; }

redis_renew() { # clients
    $redis-benchmark -p $redis_durable -c "$1" -n $requests -r 20000 --csv \
        evalsha "$script" 1 session:__rand_int__ "$token" "$token" 1795311300000 | redis_figures
}
rows_renew() { # clients
    rm -f "$dir"/lap.*
    # It begins a process for each client first, which is within its time and not within what it reports.
    length=$((seconds + 2 + $1 / 64))
    (cd "$dir" && rows pgbench -n -M prepared -f renew.sql -D "token=$token" -c "$1" -j 1 -T $length -l \
        --log-prefix=lap) > "$dir/pgbench.log" 2>&1
    per_second=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$dir/pgbench.log")
    [ -n "$per_second" ] || { cat "$dir/pgbench.log" >&2; return 1; }
    p99=$(cat "$dir"/lap.* | awk '{ print $3 }' | sort -n | awk '{ all[NR] = $1 } END { print all[int(NR * 0.99)] / 1000 }')
    # Or else nothing was renewed, which is quick.
    [ "$(rows psql -Atc 'SELECT max(renewals) > 0 FROM sessions')" = t ] || return 1
    echo "$per_second $p99"
}
ours_renew() { # clients
    "$tenure" bench renew --http --url http://127.0.0.1:$ours_durable --key-file "$dir/durable/admin.key" \
        --clients "$1" --sessions 20000 --rounds 1 --seconds "$seconds" -o jsonl | ours_figures
}
# Both in one run and in this order: renewals in process, and as many bytes on the bare store.
in_process() { # clients
    "$tenure" bench renew --compare-bare --clients "$1" --sessions 20000 --rounds 1 --seconds "$seconds" --dir "$dir" \
        -o jsonl > "$dir/lap"
    sed -n 1p "$dir/lap" | ours_figures >> "$dir/process-renew-$1"
    sed -n 2p "$dir/lap" | ours_figures >> "$dir/bare-renew-$1"
}
redis_get() {
    taskset -c 1 $redis-benchmark -p $redis_memory -c 64 -n $((requests * 3)) -r 5000 -d 500 --csv -t get \
        | redis_figures
}
ours_introspect() { # tokens in a request
    taskset -c 1 "$tenure" bench introspect --http --url http://127.0.0.1:$ours_memory \
        --key-file "$dir/memory/admin.key" --sessions 5000 --batch "$1" --rounds 1 --seconds "$seconds" -o jsonl \
        | ours_figures
}

# --- the rounds, in turn ------------------------------------------------------------------------------------

load() { cut -d' ' -f1 /proc/loadavg; }
if [ -n "$redis" ]; then
    script=$($redis-cli -p $redis_durable -x script load < "$dir/renew.lua")
    taskset -c 1 $redis-benchmark -p $redis_memory -n 100000 -r 5000 -d 500 -q -t set > /dev/null
fi
before=$(load)
round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    for clients in 64 256; do
        [ -z "$redis" ] || redis_renew $clients >> "$dir/redis-renew-$clients"
        ours_renew $clients >> "$dir/ours-renew-$clients"
        [ -z "$pg" ] || rows_renew $clients >> "$dir/rows-renew-$clients"
        in_process $clients
    done
    [ -z "$redis" ] || redis_get >> "$dir/redis-introspect-1"
    ours_introspect 1 >> "$dir/ours-introspect-1"
    ours_introspect 100 >> "$dir/ours-introspect-100"
    echo "round $round of $rounds: load average $(load)" >&2
done

# --- the table ----------------------------------------------------------------------------------------------

median() { sort -n | awk '{ all[NR] = $1 } END { print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 }'; }
column() { cut -d' ' -f"$2" "$dir/$1" | median; }
row() { # work, who, its figures, those of Tenure
    [ -s "$dir/$3" ] || return 0
    ratio=-
    [ "$3" = "$4" ] || ratio=$(paste -d' ' "$dir/$4" "$dir/$3" | awk '{ print $1 / $3 }' | median | xargs printf '%.2f')
    printf '%-26s %-18s %10.0f %9.2f %10s\n' "$1" "$2" "$(column "$3" 1)" "$(column "$3" 2)" "$ratio"
}
version() { "$@" 2> /dev/null | grep -o '[0-9][0-9.]*' | head -n 1; }
printf '%s processors (%s), file system %s, load average %s before and %s after\n' "$(nproc)" \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(stat -f -c %T "$dir")" "$before" "$(load)"
printf '%s; ' "$("$tenure" --version)"
[ -z "$redis" ] || printf '%s %s; ' "$redis" "$(version $redis-server --version)"
[ -z "$pg" ] || printf 'PostgreSQL %s; ' "$(version "$pg/postgres" --version)"
printf 'medians of %s rounds of %s s in turn; RATIO is Tenure divided by the peer\n\n' "$rounds" "$seconds"
printf '%-26s %-18s %10s %9s %10s\n' WORK WHO PER_SECOND P99_MS RATIO
for clients in 64 256; do
    work="renew, $clients clients"
    row "$work" tenure ours-renew-$clients ours-renew-$clients
    row "$work" "$redis, script" redis-renew-$clients ours-renew-$clients
    row "$work" "PostgreSQL, row" rows-renew-$clients ours-renew-$clients
    row "in process, $clients callers" tenure process-renew-$clients process-renew-$clients
    row "in process, $clients callers" "bare store" bare-renew-$clients process-renew-$clients
done
row "introspect, one core" tenure ours-introspect-1 ours-introspect-1
row "introspect, one core" "$redis, GET" redis-introspect-1 ours-introspect-1
row "introspect, 100 at a time" tenure ours-introspect-100 ours-introspect-100
