package main

const execveat = 322
