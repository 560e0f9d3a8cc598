//go:build !amd64

package main

const execveat = 281
