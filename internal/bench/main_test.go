package main

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	all := []row{{id: "N1"}, {id: "N4"}, {id: "N14"}}
	for list, want := range map[string]string{
		"": "N1 N4 N14", " , ": "N1 N4 N14", "N4": "N4", "n14, n1": "N1 N14", "N4,N4,": "N4",
	} {
		got, err := choose(all, list)
		var ids []string
		for _, r := range got {
			ids = append(ids, r.id)
		}
		if strings.Join(ids, " ") != want || err != nil {
			t.Errorf("choose %q: got %v, %v; want %s", list, ids, err, want)
		}
	}
	for _, list := range []string{"N2", "N4,X", "N"} {
		if got, err := choose(all, list); err == nil || !strings.Contains(err.Error(), "N1, N4, N14") {
			t.Errorf("choose %q: got %v, %v; want an error that names the rows", list, got, err)
		}
	}
}

func TestRowsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows() {
		if seen[r.id] || r.measure == nil || r.id != strings.ToUpper(r.id) || strings.Trim(r.id[:1], "LNW") != "" {
			t.Errorf("row %q: stands twice, measures nothing or has no name", r.id)
		}
		seen[r.id] = true
	}
	if !slices.IsSortedFunc(rows(), func(a, b row) int {
		return cmp.Or(strings.Compare(a.id[:1], b.id[:1]), number16(a.id)-number16(b.id))
	}) {
		t.Error("rows are out of order")
	}
}

func number16(id string) (n int) {
	for _, digit := range id[1:] {
		n = 10*n + int(digit-'0')
	}
	return n
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		line line
		want string
	}{
		{
			line{"agent binary", 9.7, "MB", "hello", 1.64, atMost(10)},
			"N0\tagent binary\t9.7 MB\thello 1.64 MB\t5.91x\t<= 10 MB\tok",
		},
		{
			line{"agent binary", 10.01, "MB", "hello", 2, atMost(10)},
			"N0\tagent binary\t10 MB\thello 2 MB\t5x\t<= 10 MB\tshort",
		},
		{
			line{"call", 603, "µs", "unmetered", 480, ratioAtMost(1.25)},
			"N0\tcall\t603 µs\tunmetered 480 µs\t1.26x\t<= 1.25x\tshort",
		},
		{
			line{"puts", 49085, "/s", "bbolt", 1771, atLeast(20000)},
			"N0\tputs\t49085/s\tbbolt 1771/s\t27.7x\t>= 20000/s\tok",
		},
		{
			line{"puts", 351, "/s", "bbolt", 351, atLeast(20000)},
			"N0\tputs\t351/s\tbbolt 351/s\t1x\t>= 20000/s\tshort",
		},
		{
			line{"nothing", math.NaN(), "µs", "nothing", 0, atMost(4)},
			"N0\tnothing\tNaN µs\tnothing 0 µs\tNaNx\t<= 4 µs\tshort",
		},
	} {
		if got := c.line.text("N0"); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		q    float64
		want float64
	}{
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1}, 0.5, 2.5},
		{[]float64{7}, 0.99, 7},
		{[]float64{5, 1, 2, 3, 4}, 1, 5},
		{[]float64{5, 1, 2, 3, 4}, 0.25, 2},
	} {
		if got := quantile(c.in, c.q); got != c.want {
			t.Errorf("quantile %v of %v: got %v, want %v", c.q, c.in, got, c.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing: got %v, want NaN", got)
	}
}

// A row that falls short fails nothing; one that cannot be measured does, and the
// others are measured all the same.
func TestExitCode(t *testing.T) {
	short := row{"N1", func(*bench) ([]line, error) { return []line{{metric: "m", value: 2, base: 1, target: atMost(1)}}, nil }}
	broken := row{"N2", func(*bench) ([]line, error) { return nil, errors.New("no disk") }}
	for _, c := range []struct {
		rows []row
		code int
		out  int
		errs string
	}{
		{[]row{short}, 0, 1, ""},
		{[]row{broken, short}, 1, 1, "bench: N2: not measured: no disk\n"},
	} {
		var out, errs strings.Builder
		code := measure(context.Background(), c.rows, &out, &errs)
		if code != c.code || strings.Count(out.String(), "\tshort\n") != c.out || errs.String() != c.errs {
			t.Errorf("got %d, %q, %q; want %d, %d lines, %q", code, out.String(), errs.String(), c.code, c.out, c.errs)
		}
	}
	for _, args := range [][]string{{"-rows", "N99"}, {"-nonsense"}, {"N4"}} {
		var out, errs strings.Builder
		if code := run(context.Background(), args, &out, &errs); code != 2 || out.Len() > 0 || errs.Len() == 0 {
			t.Errorf("run %q: got %d, %q, %q; want 2 and an error", args, code, out.String(), errs.String())
		}
	}
}

// N14 costs nothing, so it shows that the whole way from the flag to a line works.
func TestRun(t *testing.T) {
	var out, errs strings.Builder
	code := run(context.Background(), []string{"-rows", "n14"}, &out, &errs)
	for l := range strings.Lines(out.String()) {
		if field := strings.Split(strings.TrimSpace(l), "\t"); len(field) != 7 || field[0] != "N14" || field[6] != "ok" {
			t.Errorf("line %q: want 7 fields of N14 and ok", l)
		}
	}
	if code != 0 || out.Len() == 0 || errs.Len() > 0 {
		t.Errorf("got %d, %q, %q; want 0 and lines", code, out.String(), errs.String())
	}
}
