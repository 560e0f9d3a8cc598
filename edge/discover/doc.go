// Package discover finds the gateways of a site by multicast DNS (RFC 6762) and DNS service
// discovery (RFC 6763), and has a gateway be found.
//
// What is found is a hint where to dial, and nothing is believed for it: whoever is there must
// show a certificate of the hub's CA. So nothing here is signed, and what a packet says is only
// bounded and checked for its form.
//
// The files: message.go reads and writes packets, find.go makes the question and reads answers,
// answer.go answers; these open no socket and read no clock. browse.go and serve.go have the
// sockets, of IPv4. An agent links nothing of answer.go and serve.go.
package discover
