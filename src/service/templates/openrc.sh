#!/sbin/openrc-run
# shellcheck shell=sh disable=SC2034
description="Barnacle gateway"
supervisor=supervise-daemon
command=@program@
command_args="@arguments@"
command_user=@user@
respawn_delay=2
respawn_max=30
respawn_period=300
export @variables@
