#!/bin/sh
# Tenure and Redis in turn, on this machine and in one run: renewals with both durable (64 and 256 clients),
# and introspection against GET with the server on one core (64 connections). Prints the medians of the rounds.
#
#   benches/peers.sh [ROUNDS] [SECONDS]      TENURE=path/to/tenure   DIR=directory on the disk to measure
set -eu

rounds=${1:-5}
seconds=${2:-3}
tenure=${TENURE:-target/release/tenure}
if ! command -v redis-server > /dev/null || ! command -v redis-benchmark > /dev/null; then
    apt-get install -y redis-server redis-tools
fi
[ -x "$tenure" ] || { echo "$tenure is not there: cargo build --release" >&2; exit 1; }

dir=$(mktemp -d "${DIR:-.}/peers-XXXXXX")
started=
stop() {
    for pid in $started; do kill "$pid" 2> /dev/null || :; done
    wait
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 1' INT TERM

# --- servers -------------------------------------------------------------------------------------------

redis_durable=17401 redis_memory=17402 ours_durable=17403 ours_memory=17404

start() { # log file, command …
    log=$1
    shift
    "$@" > "$dir/$log" 2>&1 &
    started="$started $!"
}
mkdir "$dir/redis"
start redis1.log redis-server --port $redis_durable --bind 127.0.0.1 --dir "$dir/redis" --save '' \
    --appendonly yes --appendfsync always
start redis2.log taskset -c 0 redis-server --port $redis_memory --bind 127.0.0.1 --dir "$dir" --save '' \
    --appendonly no
start ours1.log "$tenure" serve --data "$dir/durable" --listen 127.0.0.1:$ours_durable --test-clock --log warn
start ours2.log taskset -c 0 "$tenure" serve --data "$dir/memory" --listen 127.0.0.1:$ours_memory \
    --test-clock --log warn
tries=0
until [ -s "$dir/durable/admin.key" ] && [ -s "$dir/memory/admin.key" ] \
    && redis-cli -p $redis_durable ping > /dev/null 2>&1 && redis-cli -p $redis_memory ping > /dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat "$dir"/*.log >&2; exit 1; }
    sleep 0.1
done
sleep 0.5

# --- one round of each: prints "calls-per-second p99-milliseconds" ----------------------------------------

# What a renewal is: compare the token, replace it, count, write the fact down.
cat > "$dir/renew.lua" <<'LUA'
local held = redis.call('HGET', KEYS[1], 'token')
if held and held ~= ARGV[1] then return redis.error_reply('MISMATCH') end
redis.call('HSET', KEYS[1], 'token', ARGV[2], 'expires', ARGV[3])
local count = redis.call('HINCRBY', KEYS[1], 'renewals', 1)
redis.call('XADD', 'renewed', '*', 'session', KEYS[1], 'count', count)
return count
LUA
script=$(redis-cli -p $redis_durable -x script load < "$dir/renew.lua")
token=$(printf '%0250d' 7)
requests=$((seconds * 25000))

redis_figures() { tail -n 1 | tr -d '"' | awk -F, '{ print $(NF - 6), $(NF - 1) }'; }
ours_figures() { sed 's/.*"p99Millis":\([0-9.]*\),"perSecond":\([0-9.]*\).*/\2 \1/'; }

redis_renew() { # clients
    redis-benchmark -p $redis_durable -c "$1" -n $requests -r 50000 --csv \
        evalsha "$script" 1 session:__rand_int__ "$token" "$token" 1795311300000 | redis_figures
}
ours_renew() { # clients
    "$tenure" bench renew --http --url http://127.0.0.1:$ours_durable --key-file "$dir/durable/admin.key" \
        --clients "$1" --sessions 20000 --rounds 1 --seconds "$seconds" -o jsonl | ours_figures
}
redis_get() {
    taskset -c 1 redis-benchmark -p $redis_memory -c 64 -n $((requests * 3)) -r 5000 -d 500 --csv -t get \
        | redis_figures
}
ours_introspect() { # tokens in a request
    taskset -c 1 "$tenure" bench introspect --http --url http://127.0.0.1:$ours_memory \
        --key-file "$dir/memory/admin.key" --sessions 5000 --batch "$1" --rounds 1 --seconds "$seconds" -o jsonl \
        | ours_figures
}

# --- the rounds, in turn ------------------------------------------------------------------------------------

taskset -c 1 redis-benchmark -p $redis_memory -n 100000 -r 5000 -d 500 -q -t set > /dev/null
echo "load average before: $(cut -d' ' -f1 /proc/loadavg), $rounds rounds of $seconds s" >&2
round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    for clients in 64 256; do
        redis_renew $clients >> "$dir/redis-renew-$clients"
        ours_renew $clients >> "$dir/ours-renew-$clients"
    done
    redis_get >> "$dir/redis-introspect-1"
    ours_introspect 1 >> "$dir/ours-introspect-1"
    ours_introspect 100 >> "$dir/ours-introspect-100"
    echo "round $round: load average $(cut -d' ' -f1 /proc/loadavg)" >&2
done

median() { sort -n | awk '{ all[NR] = $1 } END { print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 }'; }
column() { cut -d' ' -f"$2" "$dir/$1" | median; }
compare() { # what, ours, redis
    ratio=$(paste -d' ' "$dir/$2" "$dir/$3" | awk '{ print $1 / $3 }' | median)
    printf '%-28s %12.0f %9.2f %12.0f %9.2f %7.2f\n' "$1" "$(column "$2" 1)" "$(column "$2" 2)" \
        "$(column "$3" 1)" "$(column "$3" 2)" "$ratio"
}
printf '%-28s %12s %9s %12s %9s %7s\n' WORK OURS/S P99/MS REDIS/S P99/MS RATIO
compare "renew, 64 clients" ours-renew-64 redis-renew-64
compare "renew, 256 clients" ours-renew-256 redis-renew-256
compare "introspect / GET, one core" ours-introspect-1 redis-introspect-1
printf '%-28s %12.0f\n' "introspect, 100 at a time" "$(column ours-introspect-100 1)"
