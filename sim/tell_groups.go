package sim

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/stavily/stavily/sim/report"
)

// close fills in what of a device is known only at the end.
func (t *teller) close(d *device) {
	s := &d.stats
	s.Online, s.Converged = d.line.up, t.converged(d)
	s.Revision, s.Outbox = t.of(d).reported.Revision, d.outbox()
	s.Restarts = max(d.boots, 1) - 1
	s.MeanMS = t.of(d).travel / 1e6 / int64(max(1, s.Ended))
}

// groupsOf returns what each group did, and each of its sites.
func (t *teller) groupsOf() []report.Group {
	out := make([]report.Group, len(t.w.scenario.Fleet))
	for i := range out {
		g := &t.groups[i]
		out[i] = report.Group{
			Name:  t.w.scenario.Fleet[i].Name,
			P50MS: g.delays.ms(0.5), P95MS: g.delays.ms(0.95), P99MS: g.delays.ms(0.99),
		}
	}
	for _, d := range t.w.devices {
		t.close(d)
		add(&out[d.of.Group], &d.stats)
	}
	for i := range out {
		slices.SortFunc(out[i].Sites, func(a, b report.Site) int { return cmp.Compare(a.Name, b.Name) })
	}
	return out
}

func add(g *report.Group, s *report.Agent) {
	g.Agents++
	if s.Converged {
		g.Converged++
	}
	g.Fired += s.Fired
	g.Ended += s.Ended
	g.Failed += s.Failed
	g.Dropped += s.Dropped
	g.BytesUp += s.BytesUp
	g.BytesDown += s.BytesDown
	g.Restarts += s.Restarts
	n := len(g.Sites)
	if n == 0 || g.Sites[n-1].Name != s.Site { // agents of a site mostly come one after the other
		n = slices.IndexFunc(g.Sites, func(site report.Site) bool { return site.Name == s.Site }) + 1
	}
	if n == 0 {
		g.Sites = append(g.Sites, report.Site{Name: s.Site})
		n = len(g.Sites)
	}
	site := &g.Sites[n-1]
	site.Agents++
	site.BytesUp += s.BytesUp
	site.BytesDown += s.BytesDown
	site.Failed += s.Failed
}

// subBuckets is how many buckets of a histogram lie between a power of two and the next:
// a quantile is wrong by at most 1 in 32.
const subBuckets = 32

// histogram counts durations in ns by their size, in little memory.
type histogram struct {
	counts []uint64
	total  uint64
}

func (h *histogram) add(ns int64) {
	b := bucketFor(uint64(max(0, ns) / 1e3))
	if b >= len(h.counts) {
		h.counts = append(h.counts, make([]uint64, b+1-len(h.counts))...)
	}
	h.counts[b]++
	h.total++
}

func (h *histogram) clear() {
	clear(h.counts)
	h.total = 0
}

// bucketFor returns the bucket of a number of µs.
func bucketFor(us uint64) int {
	if us < subBuckets {
		return int(us)
	}
	shift := bits.Len64(us) - 6
	return shift*subBuckets + int(us>>shift)
}

// ms returns a quantile in ms, rounded up to its bucket's end; 0 when nothing was added.
func (h *histogram) ms(q float64) int64 {
	want := uint64(math.Ceil(q * float64(h.total)))
	var seen uint64
	for b, n := range h.counts {
		if seen += n; n > 0 && seen >= want {
			return int64(endOf(b)+999) / 1000
		}
	}
	return 0
}

// endOf returns the largest number of µs that falls into a bucket.
func endOf(b int) uint64 {
	if b < 2*subBuckets {
		return uint64(b)
	}
	shift := b/subBuckets - 1
	return uint64(b-shift*subBuckets+1)<<shift - 1
}
