module github.com/stavily/stavily/plugins/sdk/go

go 1.24
