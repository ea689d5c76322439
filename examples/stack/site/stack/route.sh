# route.sh PROJECT DIR: the web containers that run, but not those that are about to be stopped, become nginx's upstream.
set -eu
project=$1 upstreams=$2/shared/upstreams
for id in $(docker ps -q --filter "label=com.docker.compose.project=$project" --filter label=com.docker.compose.service=web); do
  docker inspect --format '{{.Name}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$id"
done | while read -r name address; do
  case " ${DAVIT_OLD:-} " in *" ${name#/} "*) ;; *) echo "server $address:8000;" ;; esac
done >"$upstreams/web.new"
test -s "$upstreams/web.new"
mv "$upstreams/web.new" "$upstreams/web.conf"
docker exec "$project-proxy-1" nginx -c /etc/nginx/nginx.conf -s reload
