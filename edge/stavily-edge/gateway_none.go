//go:build !gateway

package main

import "errors"

// openGateway says which program a gateway is: this one carries no broker, which is a fifth of
// it and of use to one device of a site.
func openGateway(*house, *identity, string) (carrier, error) {
	return nil, &failure{
		errors.New("run: --gateway: this program is built without a broker"),
		"start stavily-gateway in its place, with the same flags and --state", exitUsage,
	}
}
