// Command goguest is a guest of the size and habits of a real plugin: it reads one JSON line at a time,
// works on it, and answers with another.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"sort"
	"strings"
)

type request struct {
	Words []string  `json:"words"`
	Nums  []float64 `json:"nums"`
	Turns int       `json:"turns"`
}

type answer struct {
	Digest string            `json:"digest"`
	Count  map[string]int    `json:"count"`
	Sorted []string          `json:"sorted"`
	Mean   float64           `json:"mean"`
	Root   float64           `json:"root"`
	Depth  int               `json:"depth"`
	Match  map[string]string `json:"match"`
	Panic  string            `json:"panic"`
}

var digits = regexp.MustCompile(`([a-z]+)-(\d+)`)

func main() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		b, _ := json.Marshal(work(r))
		fmt.Println(string(b))
	}
}

func work(r request) (a answer) {
	defer func() { a.Panic = fmt.Sprint(recover()) }()
	a.Count, a.Match = map[string]int{}, map[string]string{}
	for _, w := range r.Words {
		a.Count[strings.ToUpper(w)]++
		if m := digits.FindStringSubmatch(w); m != nil {
			a.Match[m[1]] = m[2]
		}
	}
	a.Sorted = append(a.Sorted, r.Words...)
	sort.Strings(a.Sorted)
	for _, n := range r.Nums {
		a.Mean += n / float64(len(r.Nums))
		a.Root += math.Sqrt(math.Abs(n))
	}
	sum := sha256.Sum256([]byte(strings.Join(r.Words, " ")))
	for range r.Turns {
		sum = sha256.Sum256(sum[:])
	}
	a.Digest = hex.EncodeToString(sum[:])
	a.Depth = fib(18)
	return a
}

func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}
