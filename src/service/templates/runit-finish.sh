#!/bin/sh
[ "$1" = 78 ] && sv down .
sleep 1
