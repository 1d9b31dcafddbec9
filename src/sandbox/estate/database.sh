systemctl reload postgresql@15-main
# The client itself: `psql` of Debian is a wrapper in Perl that looks for it each time.
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
sql() {
  setpriv --reuid=postgres --regid=postgres --init-groups psql -X -q -v ON_ERROR_STOP=1 -d "$1"
}
chown redis:redis /etc/redis/redis.conf /etc/redis/password.conf
systemctl restart redis-server
