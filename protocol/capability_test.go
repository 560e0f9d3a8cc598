package protocol

import (
	"reflect"
	"strings"
	"testing"
)

// M-26, M-27, G-1: what a manifest asks for.
func TestWishes(t *testing.T) {
	m := Manifest{Network: true, Permissions: Permissions{
		System:  []string{"process.execute:uptime", "metrics.read", "process.execute:df"},
		Network: []string{"dns.resolve"},
	}}
	got, err := m.Wishes()
	want := []Grant{
		{Capability: CapResolve}, {Capability: CapMetrics}, {Capability: CapProcess, Scopes: []string{
			"df",
			"uptime",
		}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	m.Permissions.System = []string{"root"}
	if _, err := m.Wishes(); err == nil || !strings.Contains(err.Error(), `"root"`) {
		t.Errorf("got %v", err)
	}
}

// G-1, M-23, M-24: the permissions are kept as they were written, and what the manifest
// itself forbids is not wished for, in whichever list it stands.
func TestWishesLeaveOutWhatTheManifestForbids(t *testing.T) {
	all := []string{
		"dns.resolve", "http.request:a:443", "tcp.connect:a:1", "filesystem.read",
		"filesystem.write", "kv",
	}
	for _, c := range []struct {
		name       string
		network    bool
		filesystem string
		want       string
	}{
		{"all allowed", true, "restricted", "dns.resolve filesystem.read filesystem.write http.request kv " +
			"tcp.connect"},
		{"no network", false, "restricted", "filesystem.read filesystem.write kv"},
		{"no files", true, "none", "dns.resolve http.request kv tcp.connect"},
		{"neither", false, "none", "kv"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, p := range []Permissions{{System: all}, {Network: all}} {
				m := Manifest{Network: c.network, Filesystem: c.filesystem, Permissions: p}
				wishes, err := m.Wishes()
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, g := range wishes {
					got = append(got, g.Capability)
				}
				if text := strings.Join(got, " "); text != c.want {
					t.Errorf("got %s, want %s", text, c.want)
				}
				if !reflect.DeepEqual(m.Permissions, p) {
					t.Errorf("the manifest's own words changed: %v", m.Permissions)
				}
			}
		})
	}
}

// S-04: grant = manifest ∩ approval ∩ policy.
func TestIntersect(t *testing.T) {
	open := Grant{Capability: CapProcess}
	some := Grant{Capability: CapProcess, Scopes: []string{"df", "uptime"}}
	one := Grant{Capability: CapProcess, Scopes: []string{"uptime"}}
	other := Grant{Capability: CapProcess, Scopes: []string{"rm"}}
	metrics := Grant{Capability: CapMetrics}
	for _, c := range []struct {
		name       string
		a, b, want []Grant
	}{
		{"nothing asked", nil, []Grant{open}, nil},
		{"nothing allowed", []Grant{open}, nil, nil},
		{"any asked, some allowed", []Grant{open}, []Grant{some}, []Grant{some}},
		{"some asked, any allowed", []Grant{some}, []Grant{open}, []Grant{some}},
		{"some of some", []Grant{some}, []Grant{one}, []Grant{one}},
		{"none in common", []Grant{some}, []Grant{other}, nil},
		{"any and any of one that needs a scope", []Grant{open}, []Grant{open}, nil},
		{"others do not matter", []Grant{metrics, some}, []Grant{metrics, one}, []Grant{metrics, one}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Effective(Intersect(c.a, c.b))
			if len(got) != len(c.want) || len(got) > 0 && !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestUnion(t *testing.T) {
	got := Union([]Grant{{Capability: CapProcess, Scopes: []string{"b"}}},
		[]Grant{{Capability: CapKV}, {Capability: CapProcess, Scopes: []string{"a", "b"}}})
	want := []Grant{{Capability: CapKV}, {Capability: CapProcess, Scopes: []string{"a", "b"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if got := Union(got, []Grant{{Capability: CapProcess}}); len(got[1].Scopes) != 0 {
		t.Errorf("any and some is %+v, want any", got)
	}
}
