package scenario

import "github.com/stavily/stavily/sim/expr"

// Where are the names that selectors know: one agent as the file draws it.
var Where = &expr.Names{
	Fields: map[string]expr.Field{
		"agent":    {Kind: expr.Text, Doc: "its name"},
		"group":    {Kind: expr.Text, Doc: "its group"},
		"site":     {Kind: expr.Text, Doc: "its site"},
		"class":    {Kind: expr.Text, Doc: "its class, as written"},
		"platform": {Kind: expr.Text, Doc: "such as linux-armv7"},
		"engine":   {Kind: expr.Text, Doc: "compiler or interpreter"},
		"number":   {Kind: expr.Number, Doc: "its number within the group, from 0"},
		"memory":   {Kind: expr.Bytes, Doc: "its class's memory"},
	},
	Funcs:  map[string]expr.Func{"label": {Kind: expr.Text, Arg: "key", Doc: "the label's value, or nothing"}},
	Sample: true,
}

// Figures are the names that expectations know. Those that begin with agent. are asked
// of every agent for itself, the others of the fleet as a whole; counts are since the
// start.
var Figures = &expr.Names{
	Fields: map[string]expr.Field{
		"agent.name":              {Kind: expr.Text, Doc: "its name"},
		"agent.group":             {Kind: expr.Text, Doc: "its group"},
		"agent.site":              {Kind: expr.Text, Doc: "its site"},
		"agent.platform":          {Kind: expr.Text, Doc: "such as linux-armv7"},
		"agent.class.memory":      {Kind: expr.Bytes, Doc: "its device's memory"},
		"agent.class.flash":       {Kind: expr.Bytes, Doc: "its device's flash"},
		"agent.online":            {Kind: expr.Bool, Doc: "its line is up"},
		"agent.converged":         {Kind: expr.Bool, Doc: "it holds and has reported what the hub wants"},
		"agent.revision":          {Kind: expr.Number, Doc: "of the desired document that it holds"},
		"agent.fired":             {Kind: expr.Number, Doc: "events of its triggers"},
		"agent.failed":            {Kind: expr.Number, Doc: "results with an error"},
		"agent.dropped":           {Kind: expr.Number, Doc: "records dropped and counted"},
		"agent.restarts":          {Kind: expr.Number, Doc: "starts after the first"},
		"agent.renewals":          {Kind: expr.Number, Doc: "of its certificate, at level bubble and live"},
		"agent.bytes_up":          {Kind: expr.Bytes, Doc: "sent"},
		"agent.bytes_down":        {Kind: expr.Bytes, Doc: "received"},
		"agent.bytes":             {Kind: expr.Bytes, Doc: "sent and received"},
		"agent.bytes_day":         {Kind: expr.Bytes, Doc: "sent and received since midnight, in UTC"},
		"agent.retired":           {Kind: expr.Bool, Doc: "it was removed from the fleet"},
		"agent.lost":              {Kind: expr.Number, Doc: "its events without a result or a counted drop"},
		"agent.delivered":         {Kind: expr.Number, Doc: "effects of outputs that it runs"},
		"agent.duplicated":        {Kind: expr.Number, Doc: "of those, above one for a key"},
		"agent.reordered":         {Kind: expr.Number, Doc: "its runs that came to the hub after a later one"},
		"agent.travel_mean":       {Kind: expr.Duration, Doc: "firing to the last result at the hub, of its runs"},
		"agent.travel_max":        {Kind: expr.Duration, Doc: "the longest of those"},
		"agent.limited":           {Kind: expr.Number, Doc: "events over their workflow's limit: no runs"},
		"agent.repeated":          {Kind: expr.Number, Doc: "events that meant what another had"},
		"agent.ran_unsealed":      {Kind: expr.Bool, Doc: "it ran code that no hub sealed"},
		"agent.memory":            {Kind: expr.Bytes, Doc: "that its plugins hold"},
		"agent.disk":              {Kind: expr.Bytes, Doc: "written and kept"},
		"agent.outbox.bytes":      {Kind: expr.Bytes, Doc: "waiting to be sent"},
		"agent.outbox.max_age":    {Kind: expr.Duration, Doc: "age of the oldest record waiting"},
		"fleet.agents":            {Kind: expr.Number, Doc: "how many there are, without those that were retired"},
		"fleet.online":            {Kind: expr.Share, Doc: "whose lines are up"},
		"fleet.converged":         {Kind: expr.Share, Doc: "that hold and report what the hub wants"},
		"fleet.restarts":          {Kind: expr.Number, Doc: "starts after the first"},
		"fleet.bytes_up":          {Kind: expr.Bytes, Doc: "sent by all"},
		"fleet.bytes_down":        {Kind: expr.Bytes, Doc: "received by all"},
		"fleet.bytes":             {Kind: expr.Bytes, Doc: "both"},
		"runs.fired":              {Kind: expr.Number, Doc: "events of triggers"},
		"runs.ended":              {Kind: expr.Number, Doc: "runs whose results the hub has"},
		"runs.failed":             {Kind: expr.Number, Doc: "of those with an error"},
		"runs.open":               {Kind: expr.Number, Doc: "fired, neither ended nor dropped yet"},
		"runs.dropped":            {Kind: expr.Number, Doc: "dropped and counted"},
		"runs.limited":            {Kind: expr.Number, Doc: "events over their workflow's limit: no runs"},
		"runs.repeated":           {Kind: expr.Number, Doc: "events that meant what another had"},
		"runs.failed_share":       {Kind: expr.Share, Doc: "failed of ended"},
		"alerts.raised":           {Kind: expr.Number, Doc: "events that are to be delivered"},
		"alerts.delivered":        {Kind: expr.Number, Doc: "deliveries of outputs"},
		"alerts.lost":             {Kind: expr.Number, Doc: "gone without a delivery or a counted drop"},
		"alerts.duplicated":       {Kind: expr.Number, Doc: "deliveries above one for a key"},
		"alerts.worst_delay":      {Kind: expr.Duration, Doc: "firing to delivery, so far"},
		"alarms.dropped":          {Kind: expr.Number, Doc: "records of urgent workflows dropped and counted"},
		"alarms.max_age":          {Kind: expr.Duration, Doc: "age of the oldest waiting record of an alarm"},
		"outbox.bytes":            {Kind: expr.Bytes, Doc: "waiting, in all agents"},
		"outbox.max_bytes":        {Kind: expr.Bytes, Doc: "waiting, in the fullest"},
		"outbox.max_age":          {Kind: expr.Duration, Doc: "age of the oldest record waiting anywhere"},
		"hub.up":                  {Kind: expr.Bool, Doc: "it runs"},
		"hub.refused":             {Kind: expr.Number, Doc: "messages that it refused"},
		"hub.bytes_per_agent_day": {Kind: expr.Bytes, Doc: "up and down, per agent and day so far"},
		"time.since_start":        {Kind: expr.Duration, Doc: "virtual time"},
		"time.since_deploy":       {Kind: expr.Duration, Doc: "since the last deployment"},
		"time.since_faults":       {Kind: expr.Duration, Doc: "since the last fault ended; 0 while one lasts"},
	},
	Funcs: map[string]expr.Func{
		"fleet.active": {Kind: expr.Share, Arg: "workflow", Doc: "of the agents it is for: reported active"},
		"rollout.wave": {
			Kind: expr.Number, Arg: "workflow",
			Doc: "of its rollout: from 1, and one more for the rest; 0 without waves",
		},
		"rollout.done": {
			Kind: expr.Bool, Arg: "workflow",
			Doc: "its rollout is over, the change holds for all",
		},
		"rollout.returned": {
			Kind: expr.Bool, Arg: "workflow",
			Doc: "its rollout failed, nobody has the change any more",
		},
		"rollout.waits": {Kind: expr.Bool, Arg: "workflow", Doc: "its rollout waits for a person"},
		"runs.of":       {Kind: expr.Number, Arg: "workflow", Doc: "its runs that ended"},
		"signal": {
			Kind: expr.Number,
			Arg:  "signal",
			Doc:  "mean of the signal now, over the agents that have it",
		},
	},
}

// Metrics are what an slo may bound, with the unit of its numbers.
var Metrics = []struct{ Name, Doc string }{
	{"run_ms", "firing to the last result at the hub, in milliseconds"},
	{"delay_ms", "firing to delivery, in milliseconds"},
	{"converge_ms", "a deployment to the agent's report of it, in milliseconds"},
}
