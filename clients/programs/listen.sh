#!/usr/bin/env bash
# Listens with curl, and prints a line of JSON for each message:  listen.sh curl URL TOKEN [loop]
# With "loop" it comes back with the last id, as a browser does; curl alone does not.
url=$2 token=$3 loop=$4
last='' pause=1
while :; do
  id='' event='' data=''
  while IFS= read -r line; do
    case $line in
      'id: '*) id=${line#id: } ;;
      'event: '*) event=${line#event: } ;;
      'data: '*) data=${line#data: } ;;
      'curl: '*) status=${line#curl: } ;;
      'retry: '*) pause=$(awk "BEGIN { print ${line#retry: } / 1000 }") ;;
      '')
        [ -n "$id" ] && last=$id
        [ -n "$data" ] && [ -z "$event" ] && printf '{"id": "%s", "data": "%s"}\n' "$id" "$data"
        event='' data=''
        ;;
    esac
    # A header without a value is not sent.
  done < <(
    curl --silent --no-buffer --fail -H "Accept: text/event-stream" -H "Authorization: Bearer $token" \
      -H "Last-Event-ID: $last" "$url"
    printf 'curl: %d\n' $?
  )
  [ "$status" = 22 ] && { echo '{"error": "refused", "closed": true}'; exit; } # asking again would not help
  [ -z "$loop" ] && { echo '{"error": "it ended", "closed": true}'; exit; }
  sleep "$pause"
done
