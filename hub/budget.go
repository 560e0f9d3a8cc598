package hub

import (
	"cmp"
	"slices"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// bookBudgets holds data budgets by their targets.
const bookBudgets = "budget"

// budgetsMax bounds the data budgets that a hub keeps.
const budgetsMax = 4096

// SetBudget sets how many bytes a day the agents of a target may have on their lines, and
// sends it to them; 0 takes the budget away. The error has CodeBadInput for a target that
// says two things, CodeLimit.
func (h *Hub) SetBudget(now time.Time, b api.Budget) (out api.BudgetSet, err error) {
	out.Budget = b
	if err := b.Target.Check(); err != nil {
		return out, err
	}
	err = h.Operate(func(tx *store.Tx) (err error) {
		if err := putBudget(tx, b); err != nil {
			return err
		}
		out.Agents, err = h.replan(tx, now, "")
		return err
	})
	return out, err
}

func putBudget(tx *store.Tx, b api.Budget) error {
	key := b.Target.String()
	if b.BytesPerDay == 0 {
		err := tx.DropEntry(bookBudgets, key)
		if protocol.CodeOf(err) == protocol.CodeNotFound {
			return protocol.Errorf(protocol.CodeNotFound, "data budget for %s: not found", b.Target)
		}
		return err
	}
	all, err := tx.Entries(bookBudgets)
	if err == nil && len(all) >= budgetsMax {
		err = protocol.Errorf(protocol.CodeLimit, "data budgets: %d kept, limit %d", len(all), budgetsMax)
	}
	if err != nil {
		return err
	}
	return tx.PutEntry(store.Entry{Book: bookBudgets, Key: key, Value: protocol.MustMarshal(b)})
}

// Budgets returns every data budget, in the order of their targets.
func Budgets(tx *store.Tx) ([]api.Budget, error) {
	entries, err := tx.Entries(bookBudgets)
	if err != nil {
		return nil, err
	}
	out := make([]api.Budget, len(entries))
	for i := range entries {
		if err := protocol.UnmarshalExact(entries[i].Value, &out[i]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b api.Budget) int { return cmp.Compare(a.Target.String(), b.Target.String()) })
	return out, nil
}

// budgetOf returns the bytes a day of an agent: by its own budget, or else its label's, its
// site's, everybody's. Of two labels the smaller number counts. 0: none.
func budgetOf(all []api.Budget, a *fleet.Agent) (bytes uint64) {
	rank := -1
	for _, b := range all {
		switch r := b.Target.Rank(a); {
		case r > rank:
			rank, bytes = r, b.BytesPerDay
		case r == rank && r >= 0:
			bytes = min(bytes, b.BytesPerDay)
		}
	}
	return bytes
}
