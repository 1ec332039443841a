ENV container=docker
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
CMD []
