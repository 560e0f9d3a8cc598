// Package gateway carries messages between the hub and the agents of one site.
//
// Relay is the whole of it: neighbours on one side, by a broker that it does not know, the hub
// on the other, by the gateway's one link, and the gateway's own agent beside them. It opens no
// socket, reads no clock and starts no goroutine, so that a simulator can have it too. It keeps
// no message: what must not be lost stays with the agent that said it until the hub's own
// acknowledgement comes down. What it does keep are files, on a Shelf, so that a site fetches
// each of them once.
//
// The files: relay.go takes what comes and passes it on, fetch.go hands out files, shelf.go
// keeps them.
package gateway
