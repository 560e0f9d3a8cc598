// Package broker is the MQTT broker of a hub, and of a gateway: mochi behind a guard.
// What is said here of the hub holds for whoever keeps the broker.
//
// It is a pipe and keeps nothing that matters. What an agent says goes to the hub's
// listeners and to nobody else; what the hub says goes to one agent; the outbox of
// the agent and the store of the hub are the truth.
//
// mochi is used with these precautions, each held by a test named after its finding
// in the security notes:
//
//	F1  every packet is checked by our own reader before mochi sees it, MQTT 3.1.1 is
//	    the only version let in, and a panic ends one connection and not the process
//	F2  the Will is checked at CONNECT by protocol.May and is sent by us, not by mochi
//	F3  a write never waits for the other side; a line that takes nothing for the
//	    write deadline is closed
//	F4  what may arrive before login is bounded in bytes, in time and in number
//	F5  PUBACK is sent when the hub says that it has kept the message
//	F6  clean sessions are refused, and the probe is echoed along the whole path
//
// The files: broker.go is the face, link.go what the hub sends and hears, session.go
// one agent's connection, guard.go the net.Conn that mochi gets, packet.go the check
// of packets, hook.go what mochi asks, admit.go and tls.go who may come in.
package broker
