rm -f /etc/nginx/sites-enabled/default
# What customers have sent in: each its own bytes, some of them in folders, one by two names.
mkdir -p /srv/shop/media/2026
for number in 1 2 3 4 5 6 7 8 9 10 11 12; do head -c 20000 /dev/urandom > /srv/shop/media/picture-$number.bin; done
head -c 300000 /dev/urandom > /srv/shop/media/2026/film.bin
ln /srv/shop/media/picture-1.bin /srv/shop/media/2026/first.bin
ln -s ../picture-2.bin /srv/shop/media/2026/second.bin
chown -hR www-data:www-data /srv/shop/media
systemctl daemon-reload
systemctl enable shop.service 2> /dev/null
systemctl start shop.service
systemctl restart nginx.service
# cron tells a new file by the time of its folder, in whole seconds: one of the second in which it started is never seen.
systemctl restart cron.service
# The database is set up at the same time as this: the shop is there when it says so itself.
until curl --silent --fail --output /dev/null --header 'Host: shop.example' http://127.0.0.1/health; do
  sleep 0.2
done
