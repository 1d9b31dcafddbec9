systemctl reload postgresql@15-main
sql() {
  setpriv --reuid=postgres --regid=postgres --init-groups psql -X -q -v ON_ERROR_STOP=1 -d "$1"
}
chown redis:redis /etc/redis/redis.conf /etc/redis/password.conf
systemctl restart redis-server
