// Package registry keeps what the hub publishes: the repositories that an operator
// registered, the releases made of them with the verdict of every stage, and the files
// that agents fetch, by digest.
//
// A release is written once: a version that was published never changes, a tag that was
// accepted never moves, and a plugin's versions only rise unless the operator says so.
package registry

import (
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// Plugin is a registered repository. Its name and type are those of the manifest of the
// newest signed tag when it was added.
type Plugin struct {
	Name           protocol.PluginName `json:"name"`
	Type           protocol.PluginType `json:"type"`
	Repository     string              `json:"repository"`           // URL without credentials
	Credential     string              `json:"credential,omitempty"` // name of a secret, never its value (O-01)
	AllowedSigners string              `json:"allowed_signers"`      // as ssh-keygen reads it
	Description    string              `json:"description"`
	Added          time.Time           `json:"added"`
}

const pluginColumns = "name, type, repository, credential, allowed_signers, description, added"

// AddPlugin registers p. The error has CodeExists when the name or the repository is
// registered already, and says which.
func AddPlugin(tx *store.Tx, p Plugin) error {
	if err := p.Name.Check(); err != nil {
		return err
	}
	if err := p.Type.Check(); err != nil {
		return err
	}
	if p.Repository == "" {
		return protocol.Errorf(protocol.CodeBadInput, "add plugin %q: no repository", p.Name)
	}
	var name, repository string
	err := tx.QueryRow(`SELECT name, repository FROM plugin WHERE name = ? OR repository = ?
		ORDER BY name LIMIT 1`,
		p.Name, p.Repository).Scan(&name, &repository)
	if err == nil {
		return protocol.Errorf(protocol.CodeExists,
			"add plugin %q from %q: plugin %q is registered from %q already; remove that first",
			p.Name, p.Repository, name, repository)
	}
	if !store.None(err) {
		return err
	}
	_, err = tx.Exec("INSERT INTO plugin ("+pluginColumns+") VALUES (?, ?, ?, ?, ?, ?, ?)", p.Name, p.Type,
		p.Repository, p.Credential, p.AllowedSigners, p.Description, store.Millis(p.Added))
	return err
}

// GetPlugin returns the plugin of that name; CodeNotFound when none is registered.
func GetPlugin(tx *store.Tx, name protocol.PluginName) (Plugin, error) {
	p, err := scanPlugin(tx.QueryRow("SELECT "+pluginColumns+" FROM plugin WHERE name = ?", name))
	if store.None(err) {
		return Plugin{}, protocol.Errorf(protocol.CodeNotFound, "plugin %q: not registered", name)
	}
	return p, err
}

// PluginOf returns the plugin that is registered from a repository; CodeNotFound when
// none is.
func PluginOf(tx *store.Tx, repository string) (Plugin, error) {
	p, err := scanPlugin(tx.QueryRow("SELECT "+pluginColumns+" FROM plugin WHERE repository = ?", repository))
	if store.None(err) {
		return Plugin{}, protocol.Errorf(protocol.CodeNotFound, "repository %q: not registered", repository)
	}
	return p, err
}

// Plugins returns all registered plugins by name.
func Plugins(tx *store.Tx) ([]Plugin, error) {
	rows, err := tx.Query("SELECT " + pluginColumns + " FROM plugin ORDER BY name")
	return store.Collect(rows, err, scanPlugin)
}

// SetSigners replaces who may sign the tags of a plugin; CodeNotFound when it is not
// registered.
func SetSigners(tx *store.Tx, name protocol.PluginName, allowed string) error {
	n, err := store.Changed(tx.Exec("UPDATE plugin SET allowed_signers = ? WHERE name = ?", allowed, name))
	return missing(n, err, "set signers", name)
}

// RemovePlugin ends a registration; CodeNotFound when there is none. Releases, pinned
// tags and the highest version stay: agents may hold the releases still, and a plugin
// that is registered again must not come back older or changed.
func RemovePlugin(tx *store.Tx, name protocol.PluginName) error {
	n, err := store.Changed(tx.Exec("DELETE FROM plugin WHERE name = ?", name))
	return missing(n, err, "remove", name)
}

func missing(n int64, err error, op string, name protocol.PluginName) error {
	if err == nil && n == 0 {
		return protocol.Errorf(protocol.CodeNotFound, "%s: plugin %q: not registered", op, name)
	}
	return err
}

func scanPlugin(row store.Scanner) (Plugin, error) {
	var p Plugin
	var added int64
	err := row.Scan(&p.Name, &p.Type, &p.Repository, &p.Credential, &p.AllowedSigners, &p.Description, &added)
	p.Added = store.Time(added)
	return p, err
}
