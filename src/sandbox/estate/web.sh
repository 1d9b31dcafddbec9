ln -sf /etc/nginx/sites-available/shop /etc/nginx/sites-enabled/shop
rm -f /etc/nginx/sites-enabled/default
systemctl daemon-reload
systemctl enable shop.service 2> /dev/null
systemctl start shop.service
systemctl restart nginx.service
# The database is set up at the same time as this: the shop is there when it says so itself.
until curl --silent --fail --output /dev/null --header 'Host: shop.example' http://127.0.0.1/health; do
  sleep 0.05
done
