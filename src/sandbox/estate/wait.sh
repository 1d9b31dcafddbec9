cloud-init status --wait > /dev/null || { cat /var/log/cloud-init-output.log >&2; exit 1; }
