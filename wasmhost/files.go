package wasmhost

import "github.com/stavily/stavily/protocol"

type files struct{ parent, name string }

func (f *files) close() {}

func callRead(r *request, args protocol.Raw) (any, error)    { return nil, nil }
func callList(r *request, args protocol.Raw) (any, error)    { return nil, nil }
func callWrite(r *request, args protocol.Raw) (any, error)   { return nil, nil }
func callAppend(r *request, args protocol.Raw) (any, error)  { return nil, nil }
func callProcess(r *request, args protocol.Raw) (any, error) { return nil, nil }
