package source

// Redact returns a repository URL as it may be shown and kept: without credentials.
func Redact(url string) string { return shown(url) }
