package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// exam is what users of comparable systems complained about, by the number of the complaint,
// and which tests hold that it does not happen here: package and function, or a scenario of the
// simulator. All of them are run by CI.
var exam = []struct {
	complaint int
	what      string
	tests     []string
}{
	{1, "offline indefinitely ends when a certificate does", []string{
		"broker:TestGrace", "edge/gateway/door:TestWhoGetsIn", "edge/stavily-edge:TestRunOffline",
		"edge/credentials:TestKeeper", "scenario:certificates", "scenario:greenhouse",
	}},
	{2, "no clock: not yet valid, and everything removed; a clock that is set is missed", []string{
		"edge/stavily-edge:TestTrustWithoutClock", "edge:TestNoClock", "edge:TestHintProvesNoTime",
		"edge:TestFloorGoesBack", "edge:TestScheduleAndClock", "edge/credentials:TestKeeper", "scenario:clockless",
		"scenario:wrong-clocks",
	}},
	{3, "after a boot without a network nothing starts", []string{
		"edge:TestBootOffline", ".:TestEndToEnd", "scenario:power-cuts",
	}},
	{4, "what is well is started again on a reconnect", []string{"edge:TestEqualUntouched"}},
	{5, "a deletion made while the agent was away is never made", []string{
		"edge:TestRemovedWhileAway", "hub:TestReportsAreComparedWhole", "hub:TestUndeploy",
	}},
	{6, "what runs is removed because the books were lost", []string{
		"hub:TestHubAsksAfterARestore", "edge:TestPreviousGeneration", "scenario:old-backup",
	}},
	{7, "a deployment that is stuck blocks all later ones", []string{
		"edge:TestNewerSupersedes", "edge:TestHungLoadIsSuperseded", "hub:TestRolloutSuperseded",
	}},
	{8, "a power cut in a deployment blanks the identity", []string{"edge/disk:TestIdentity", "edge/disk:TestDamage"}},
	{9, "the first deployment fails and takes the agent with it", []string{
		"edge:TestFirstDeploymentGoesWrong", "hub:TestRolloutOfTheFirst", "edge:TestNothingDeployed", "edge:TestLoadFails",
	}},
	{10, "nothing is kept while the line is down", []string{
		"edge:TestDrain", "edge:TestUplinkOfAGateway", ".:TestSiteWithAccidents", ".:TestCarriedByHand",
	}},
	{11, "a backlog holds the start up for minutes", []string{"edge:TestBacklogHoldsNoTriggerUp"}},
	{12, "hundreds of megabytes a day for nothing", []string{
		"edge:TestIdleDayIsSmall", "edge:TestDataBudget", "scenario:data-cap",
	}},
	{13, "a backlog fills the disk, which stays full", []string{
		"edge:TestFullDiskMakesRoom", "edge:TestDropOldest", "edge/disk:TestFullDisk", "scenario:full-disks",
	}},
	{14, "a power cut zeroes the state, and then nothing starts", []string{
		"edge/disk:TestPowerCut", "edge/disk:TestDamage", "edge/disk:TestMend", "edge/disk:TestKill",
	}},
	{15, "order is lost and lines go deaf after a reconnect", []string{
		"edge:TestRunsInOrder", "edge:TestAckBounds", "edge:TestHalfDeadLine", "broker:TestF6NoDeafSessions",
		"broker:TestF6AgentLeavesDeafLine",
	}},
	{16, "an agent that is away grows the broker, which forgets after a day", []string{
		"broker:TestF3StalledReaderStallsNobody", "broker:TestRetainedOutlastsADay", "hub:TestReportsAreComparedWhole",
	}},
	{17, "persistence that silently does not work", []string{
		"hub:TestRecordsAreAcknowledgedByTheBooks", "broker:TestF5PubackAfterTheHubHasKept",
		"edge/stavily-edge:TestDoctor", "hub:TestHubInMemoryOutlivesItsCrash",
	}},
	{18, "all of a backlog is sent again after each start", []string{
		"edge:TestRestartSendsNothingTwice", "edge:TestAckBounds", "hub/runs:TestKilledAtAnyMoment",
		"hub/runs:TestAcceptProperty",
	}},
	{19, "what is late looks live, and a rule stops when its sink is down", []string{
		"hub/runs:TestHappened", "edge:TestLiveGoesAhead", "edge:TestBlocksTrigger", "edge:TestSteps",
	}},
	{20, "waits, windows and schedules are lost on a restart, or when another rule is saved", []string{
		"edge:TestTriggersSurviveAKillAtEachWrite", "edge:TestReloadKeepsTimers", "edge:TestScheduleAndClock",
		"edge:TestCatchUp", "edge:TestTimersWhenTheClockComesLate",
	}},
	{21, "at least once is not, and repeats are not told", []string{
		"edge:TestPowerCut", "edge:TestKeysStay", "hub/runs:TestKilledAtAnyMoment",
	}},
}

// semantics are the decisions on what happens without a line, and what holds them.
var semantics = []struct {
	row   string
	tests []string
}{
	{"desired and reported", []string{
		"hub/fleet:TestDesiredOnlyRises", "hub/fleet:TestEpochOutlivesTheAgent", "edge:TestRefused",
	}},
	{"rollout", []string{"hub/rollout:TestAway", "hub/rollout:TestNobodyThere", "hub/rollout:TestPaused"}},
	{"canary health", []string{"edge:TestTrialBeginsWithTheChange", "hub/rollout:TestTakenBack"}},
	{"conflict resolution", []string{"hub:TestHubAsksAfterARestore", "scenario:old-backup"}},
	{"schema and versioning", []string{"protocol:TestUnknownKeys", "protocol:TestVectors"}},
	{"secrets", []string{
		"edge:TestSecretsComeAndStay", "hub:TestSecretsGoToDevices", "wasmhost:TestSecretIsPutIn",
		"wasmhost:TestToldSecretIsNotLogged", ".:TestSecrets",
	}},
	{"identity", []string{
		"hub:TestJoin", "hub:TestRenew", "hub:TestRenewRefusesTheDeviceBefore", "edge/credentials:TestKeeper",
		".:TestCarriedByHand",
	}},
	{"decommission", []string{
		"hub:TestGatewaysHearWhoIsGone", "edge:TestGone", "edge/gateway/door:TestGoneAtTheDoor", "broker:TestRevoked",
	}},
	{"membership change", []string{"hub:TestLabelsMoveWork", "edge:TestRemovedWhileAway", "scenario:relabel"}},
	{"delivery", []string{"edge:TestPowerCut", "edge:TestKeysStay", "hub/runs:TestAcceptProperty"}},
	{"order", []string{"edge:TestRunsInOrder", "hub/runs:TestAcceptCountsWhatIsMissing"}},
	{"offline queue", []string{
		"edge:TestShedOrder", "edge:TestThin", "edge:TestFullDiskMakesRoom", "edge:TestBlocksTrigger", "scenario:full-disks",
	}},
	{"a command past its deadline is reported, not run", []string{"edge:TestHopExpires", "edge:TestHopNoGoAfterItsTime"}},
	{"catch-up", []string{"edge:TestCatchUp", "edge:TestScheduleAndClock", "edge:TestLiveGoesAhead"}},
	{"clock skew, no clock", []string{
		"edge:TestNoClock", "edge:TestFloorGoesBack", "hub/runs:TestHappened",
		"edge:TestTimersWhenTheClockComesLate", "scenario:wrong-clocks",
	}},
	{"schedules without time", []string{
		"plugins/schedule:TestWithoutClock", "edge:TestScheduleAndClock", "edge:TestTriggersSurviveAKillAtEachWrite",
	}},
	{"convergence", []string{"hub:TestReportsAreComparedWhole", "edge:TestEqualUntouched"}},
	{"storms", []string{"edge/mqtt:TestBackoff", "scenario:reconnect-storm"}},
	{"rollback", []string{"edge:TestKeepsTwoGenerations", "edge:TestPreviousGeneration", "hub:TestRolloutReturns"}},
	{"liveness", []string{
		"broker:TestSecondConnectionReplacesASilentOne", "edge:TestWillEndsItsConnection", "hub/fleet:TestPresenceOrder",
	}},
}

// A row without a test, or whose test has gone, is a promise that nobody holds.
func TestExam(t *testing.T) {
	for i, row := range exam {
		if row.complaint != i+1 || row.what == "" || len(row.tests) == 0 {
			t.Errorf("row %d: complaint %d, %q, %d tests", i+1, row.complaint, row.what, len(row.tests))
		}
		for _, of := range row.tests {
			mustStand(t, of)
		}
	}
	for _, row := range semantics {
		for _, of := range row.tests {
			mustStand(t, of)
		}
	}
}

// mustStand fails unless a test or a scenario is there.
func mustStand(t *testing.T, of string) {
	t.Helper()
	where, name, _ := strings.Cut(of, ":")
	if where == "scenario" {
		if _, err := os.Stat(filepath.Join("sim", "scenarios", name+".yaml")); err != nil {
			t.Errorf("%s: %v", of, err)
		}
		return
	}
	files, err := filepath.Glob(filepath.Join(where, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)") {
			return
		}
	}
	t.Errorf("%s: no such test", of)
}
