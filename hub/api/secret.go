package api

import (
	"github.com/stavily/stavily/hub/secret"
	"github.com/stavily/stavily/protocol"
)

// The paths of secrets.
const (
	PathSecrets = "/v1/secrets"     // GET: []Secret; POST NewSecret: SecretSet
	PathSecret  = "/v1/secrets/{x}" // DELETE ?agent&site&label, at most one: SecretSet
)

// NewSecret is a value for a part of the fleet. No answer of this API has it.
type NewSecret struct {
	Name   protocol.SecretName `json:"name"`
	Value  []byte              `json:"value"` // base64; 1 to SecretMax bytes
	Target secret.Target       `json:"target"`
}

// SecretSet is what changed with a secret.
type SecretSet struct {
	secret.Info
	// Agents get another set of secrets now. Those that have not asked yet are not among
	// them: they get it when they do.
	Agents []protocol.AgentName `json:"agents"`
}

type (
	// Secret is what may be said of a secret.
	Secret = secret.Info
	// SecretTarget is the part of the fleet that a secret is for.
	SecretTarget = secret.Target
)
