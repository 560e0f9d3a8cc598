package api

import "github.com/stavily/stavily/hub/secret"

// PathBudgets is the path of data budgets.
const PathBudgets = "/v1/budgets" // GET: []Budget; POST Budget: BudgetSet

// Target is the part of the fleet that a setting is for: at most one field is set.
type Target = secret.Target

// Budget is how many bytes a day the agents of a target may have on their lines, both ways.
type Budget struct {
	Target      Target `json:"target"`
	BytesPerDay uint64 `json:"bytes_per_day"` // 0: none
}

// BudgetSet is what changed with a budget.
type BudgetSet struct {
	Budget
	Agents []AgentChange `json:"agents"` // that get a new revision
}
