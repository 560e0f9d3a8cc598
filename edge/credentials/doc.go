// Package credentials is whom an agent believes on its line, and when it asks for its next
// certificate: the same on a device and in a simulation, each of which keeps keys and
// certificates in its own way.
package credentials
