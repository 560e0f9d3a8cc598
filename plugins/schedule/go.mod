module github.com/stavily/stavily/plugins/schedule

go 1.24

require github.com/stavily/stavily/plugins/sdk/go v0.1.0
