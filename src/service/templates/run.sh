#!/bin/sh
exec 2>&1
export @variables@
exec @setuid@ @user@ @command@
