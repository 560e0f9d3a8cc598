package protocol

type sample struct {
	name, why string
	value     any
}

var sampleTime = Stamp{UnixMS: 1_790_000_000_000, Quality: QualityClock}

func sampleManifest() Manifest {
	return Manifest{
		Plugin: PluginInfo{
			Name: "system-health", Version: "1.2.0", Type: Trigger, Description: "Fires on a threshold",
			Author: Author{Name: "Stavily Authors"},
		},
		Runtime:     Runtime{Language: "go", MinVersion: "1.24", Dependencies: []string{"example>=1.0.0"}},
		Limits:      Limits{MemoryMB: 64, CPUCores: 0.5, Seconds: 30, Files: 16, Connections: 2},
		Sandbox:     true,
		Filesystem:  "restricted",
		Permissions: Permissions{System: []string{CapMetrics}},
		Testing:     Testing{Suite: "tests/", Coverage: 80},
	}
}

func sampleRelease() Release {
	return Release{
		Manifest: sampleManifest(),
		Source: Source{
			Repository: "https://git.example.com/system-health", Tag: "v1.2.0",
			TagObject: "1111111111111111111111111111111111111111", Commit: "2222222222222222222222222222222222222222",
			Tree: DigestOf([]byte("tree")), Signer: "author@example.com", SignerKey: "SHA256:abc",
		},
		Builder:   Builder{Name: "go", Toolchain: "go1.26.8", Inputs: DigestOf([]byte("inputs"))},
		Artifacts: []Artifact{NewArtifact(PlatformWASM, []byte("module"))},
		Schema:    []byte(`{"type":"object"}`),
	}
}

// sampleScript is a release that an engine runs.
func sampleScript() Release {
	r := sampleRelease()
	r.Artifacts[0].Metered = true
	r.Artifacts[0].Engine = &Engine{
		Name: "example", Module: NewFile([]byte("engine")), Args: []string{"example", "/app/main"}, Path: "/app",
		Libraries: []Library{{Path: "/usr/lib/example", File: NewFile([]byte("library"))}},
	}
	return r
}

func sampleStep(name StepName) Step {
	return Step{
		Name: name, Release: DigestOf([]byte("release")), Config: MustMarshal(map[string]any{"above": 80}),
		Grants: []Grant{{Capability: CapProcess, Scopes: []string{"uptime"}}}, Limits: DefaultLimits(),
		Timeout: 30_000, Retry: Retry{Times: 3, WaitMS: 2000},
	}
}

func sampleDesired() Desired {
	output := sampleStep("log")
	output.When, output.Platform = IfError, "linux-arm64"
	return Desired{
		Address: berlin, Epoch: 2, Revision: 41, Issued: sampleTime.UnixMS,
		Releases: []ReleaseRef{{
			Plugin: "system-health", Version: "1.2.0", Digest: DigestOf([]byte("release")),
			Size: 4605,
		}},
		Assignments: []Assignment{{
			Workflow: "guard", Trigger: sampleStep("trigger"), Actions: []Step{sampleStep("act")},
			Outputs: []Step{output},
			CatchUp: CatchUpLatest, If: MustMarshal(map[int]any{1: []any{map[int]any{1: 1, 5: true}}, 2: "true"}),
		}},
		Settings: Settings{HeartbeatSeconds: 60, MetricsSeconds: 300, DataBytesPerDay: 5 << 20},
	}
}

// sampleElsewhere is the part of a workflow whose action two others run, and a step that this
// agent runs for another.
func sampleElsewhere() Desired {
	d := sampleDesired()
	d.Assignments[0].Actions[0] = Step{Name: "act", Timeout: 30_000, Place: &Place{
		Members: []Address{{Site: "berlin", Agent: "gw-2"}, {Site: "oslo", Agent: "gw-1"}}, Pick: PickLeastLoaded, WithinMS: 60_000,
		Edition: 0xe0000001,
	}}
	d.Assignments[0].Limit = &RunLimit{Runs: 10, PerMS: 60_000, Burst: 20, Over: OverQueue}
	d.Assignments[0].Urgent = true
	d.Assignments[0].Once = &Once{Fields: []string{"sensor", "at.rack"}, WithinMS: 300_000}
	filled := sampleStep("tell")
	filled.Template = MustMarshal(map[int]any{1: []any{map[int]any{
		1: []string{"above"}, 2: map[int]any{1: []any{map[int]any{1: 2, 3: "event"}}, 2: "${{ event }}"},
	}}})
	filled.Schema = MustMarshal(map[int]any{2: 64, 13: []string{"above"}})
	d.Settings.Overcommit = &Overcommit{Memory: 4, CPU: 2.5}
	d.Gone = []Gone{{Agent: "pump-9", Key: DigestOf([]byte("its key"))}}
	d.Hosts = []Host{{
		Workflow: "other", Type: Output, Step: filled, Once: &Once{WithinMS: 60_000}, Edition: 0xe0000002,
		Origins: []AgentName{"gw-2", "gw-3"},
	}}
	return d
}

func sampleMetrics() Metrics {
	values := map[string]float64{}
	for i, name := range MetricNames()[:25] {
		values[name] = []float64{12.5, 43.2, 1.5e9, 61.8, 4.2e10}[i%5]
	}
	return NewMetrics(values)
}

func mustSeal(context Context, key SealKey, payload []byte) []byte {
	sealed, err := Seal(context, key, payload)
	if err != nil {
		panic(err)
	}
	return sealed
}

// samples is one value of every message, with every field set that it can have.
func samples() []sample {
	run := RunID{0xca, 0xfe, 15: 1}
	failed := Errorf(CodeDeadline, "took longer than 30 s")
	event := Event{
		Run: run, Workflow: "guard", Revision: 41, Time: sampleTime,
		Data: MustMarshal(map[string]any{"value": 81.5}),
	}
	ok := Result{Run: run, Workflow: "guard", Step: "act", Type: Action, Status: StatusOK, Time: sampleTime, Tries: 1}
	dropped := ok
	dropped.Status, dropped.Tries, dropped.Last = StatusDropped, 0, true
	dropped.Error = Errorf(CodeStale, "workflow is no longer assigned here")
	return []sample{
		{"presence-online", "said on connecting", Presence{Online: true, Boot: 7, Session: 3}},
		{"presence-will", "left as the Will", Presence{Boot: 7, Session: 3}},
		{"reported", "all of it", Reported{
			Epoch: 2, Revision: 41, Digest: DigestOf([]byte("desired")), Boot: 7, Sequence: 9, Time: sampleTime,
			Device: Device{
				Platform: "linux-arm64", Engine: "compiler", Version: "0.1.0", Kernel: "6.1.0", Cores: 4, MemoryMB: 1024,
				Labels: map[string]string{"role": "gateway", "env": "production"},
				Native: &Native{
					Layers: []string{"namespaces", "seccomp"}, Libc: "glibc",
					Interpreters: map[string]string{"python": "3.11"},
				},
			},
			Assignments: []AssignmentStatus{{
				Workflow: "guard", Phase: PhaseFailed, Error: failed, Fired: 3,
				Failed: 1, Filtered: 2, Trial: Trial{RunningS: 3600, Ended: 2, Failed: 1, Troubles: 4},
				Ending: 2,
			}},
			Refused: &Refusal{Revision: 42, Error: *failed}, Pending: 5, Dropped: 1,
			Secrets: DigestOf([]byte("sealed")),
			Data:    &DataUse{Bytes: 4 << 20, Limit: 5 << 20, Waiting: true},
		}},
		{"hop-offer", "a step is offered to another agent", Hop{
			To: Address{Site: "oslo", Agent: "gw-1"}, From: berlin, Word: HopOffer, Run: run, Workflow: "guard", Step: "act",
			Edition: 0xe0000001,
		}},
		{"hop-go", "the other agent is to begin it", Hop{
			To: Address{Site: "oslo", Agent: "gw-1"}, From: berlin, Word: HopGo, Run: run, Workflow: "guard", Step: "act",
			Nonce: 7<<32 | 1, Event: &event,
		}},
		{"hop-done", "and says how it ended", Hop{
			To: berlin, From: Address{Site: "oslo", Agent: "gw-1"}, Word: HopDone, Run: run, Workflow: "guard", Step: "act",
			Result: &ok,
		}},
		{"local", "a plugin says something to the site", Local{Topic: "site/door", Data: MustMarshal("open"), Depth: 1}},
		{"event", "a trigger fired", event},
		{"result", "a step ended in an error, the run with it", Result{
			Run: run, Workflow: "guard", Step: "act", Type: Action, Status: StatusError, Error: failed,
			Time:   sampleTime,
			TookUS: 30_000_000, Tries: 4, Data: MustMarshal("partial"), Last: true,
		}},
		{"log-line", "a plugin's warning", LogLine{
			Plugin: "system-health", Level: 4, Text: "sensor lost",
			Of: "guard",
		}},
		{"audit", "a denial", Audit{
			Plugin: "system-command", Workflow: "guard", Capability: CapProcess,
			Denied: 2, Subject: "rm",
		}},
		{"metrics", "25 metrics", sampleMetrics()},
		{"batch", "one event", Batch{Epoch: 2, Lane: LaneEvent, Records: []Record{
			{Mark: Mark{Boot: 7, Sequence: 12}, Time: sampleTime, Body: MustMarshal(event)},
		}}},
		{"batch-steady", "one event, made 3 days and 20 tenths of a second before", Batch{
			Epoch: 2, Lane: LaneEvent, Steady: 900 + 3*864_000 + 20, Records: []Record{
				{Mark: Mark{Boot: 7, Sequence: 12}, Time: sampleTime, Body: MustMarshal(event), Steady: 900},
			},
		}},
		{"batch-gaps", "one event, and what was let go before it", Batch{
			Epoch: 2, Lane: LaneEvent, Gaps: []Gap{
				{From: Mark{Boot: 6, Sequence: 3}, To: Mark{Boot: 6, Sequence: 900}, Count: 898, Why: GapBytes},
				{From: Mark{Boot: 7, Sequence: 1}, To: Mark{Boot: 7, Sequence: 11}, Count: 11, Why: GapAge},
			}, Records: []Record{{Mark: Mark{Boot: 7, Sequence: 12}, Time: sampleTime, Body: MustMarshal(event)}},
		}},
		{"batch-alarm", "an event and a result of an urgent workflow, in one lane", Batch{
			Epoch: 2, Lane: LaneAlarm, Records: []Record{
				{Mark: Mark{Boot: 7, Sequence: 12}, Time: sampleTime, Body: MustMarshal(event)},
				{Mark: Mark{Boot: 7, Sequence: 13}, Time: sampleTime, Body: MustMarshal(ok)},
			},
		}},
		{"batch-control", "a step that never ran", Batch{Epoch: 2, Lane: LaneControl, Records: []Record{
			{Mark: Mark{Boot: 7, Sequence: 1}, Time: sampleTime, Body: MustMarshal(dropped)},
		}}},
		{"batch-thinned", "figures of which every second one was let go", Batch{
			Epoch: 2, Lane: LaneMetric, Gaps: []Gap{
				{From: Mark{Boot: 7, Sequence: 13}, To: Mark{Boot: 7, Sequence: 13}, Count: 1, Why: GapThinned},
			}, Records: []Record{
				{Mark: Mark{Boot: 7, Sequence: 12}, Time: sampleTime, Body: MustMarshal(sampleMetrics())},
				{Mark: Mark{Boot: 7, Sequence: 14}, Time: sampleTime, Body: MustMarshal(sampleMetrics())},
			},
		}},
		{"lane-ack", "everything up to the mark", LaneAck{Epoch: 2, Lane: LaneResult, Mark: Mark{
			Boot:     7,
			Sequence: 12,
		}}},
		{"lane-ack-wait", "and a pace", LaneAck{Epoch: 2, Lane: LaneEvent, Mark: Mark{Boot: 7, Sequence: 12}, WaitMS: 1500}},
		{"lane-acks", "of two lanes, for an agent that takes them as one", LaneAcks{
			{Epoch: 2, Lane: LaneResult, Mark: Mark{Boot: 7, Sequence: 12}},
			{Epoch: 2, Lane: LaneEvent, Mark: Mark{Boot: 7, Sequence: 6}, WaitMS: 1500},
		}},
		{"batch-together", "one event, of an agent that takes acknowledgements of several lanes as one", Batch{
			Epoch: 2, Lane: LaneEvent, Together: true, Records: []Record{
				{Mark: Mark{Boot: 7, Sequence: 12}, Time: sampleTime, Body: MustMarshal(event)},
			},
		}},
		{"batch-ahead", "one event before its turn", Batch{
			Epoch: 2, Lane: LaneAhead + LaneEvent, Steady: 901, Records: []Record{
				{Mark: Mark{Boot: 7, Sequence: 12}, Time: sampleTime, Body: MustMarshal(event), Steady: 900},
			},
		}},
		{"hint", "the newest desired document", Hint{
			Epoch: 2, Revision: 41, Digest: DigestOf([]byte("desired")), Size: 812, Time: sampleTime.UnixMS,
		}},
		{"hint-proof", "with a sealed moment", Hint{
			Epoch: 2, Revision: 41, Digest: DigestOf([]byte("desired")), Size: 812, Time: sampleTime.UnixMS,
			Proof: mustSeal(ContextMoment, testDesired, MustMarshal(Moment{Time: sampleTime.UnixMS})),
		}},
		{"moment", "sealed with its own context", Moment{Time: sampleTime.UnixMS}},
		{"fetch-request", "two chunks", FetchRequest{Digest: DigestOf([]byte("module")), First: 3, Count: 2}},
		{"fetch-request-skip", "two chunks and not the one between them", FetchRequest{
			Digest: DigestOf([]byte("module")), First: 3, Count: 3, Skip: 2,
		}},
		{"fetch-request-bases", "the difference from a file that is here, or the file packed", FetchRequest{
			Digest: DigestOf([]byte("module")), Count: 1, Bases: []Digest{DigestOf([]byte("old")), {}},
		}},
		{"chunk-offer", "a difference instead", Chunk{Digest: DigestOf([]byte("module")), Offer: &Offer{
			Digest: DigestOf([]byte("difference")), Size: 812, Base: DigestOf([]byte("old")),
		}}},
		{"chunk", "a small file whole", Chunk{Digest: DigestOf([]byte("module")), Size: 6, Data: []byte("module")}},
		{"chunk-error", "no such file", Chunk{Digest: DigestOf([]byte("x")), Error: Errorf(CodeNotFound,
			"no such file")}},
		{"secrets-wish", "the newest secrets, above what is held", SecretsWish{
			Epoch: 2, Key: sampleSecretsKey().PublicKey().Bytes(), Identity: []byte{0x30, 3}, Proof: []byte{0x30, 4},
			Held: DigestOf([]byte("sealed")), Revision: 6,
		}},
		{"secrets-reply", "a newer set, sealed", SecretsReply{Epoch: 2, Sealed: []byte{0xd2}}},
		{"secrets-reply-none", "nothing newer", SecretsReply{Epoch: 2}},
		{"secret-set", "its box opens to secret-list with the X25519 key of 32 bytes 05", sampleSecretSet()},
		{"secret-list", "a text and bytes", aList},
		{"record-order", "the next five calls of a step", RecordOrder{
			Epoch: 2, ID: 77, Workflow: "guard", Step: "act", Calls: 5, Bytes: 100_000,
		}},
		{"record-order-have", "the hub has two parts", RecordOrder{Epoch: 2, ID: 77, Have: 2}},
		{"record-part", "a small recording whole", RecordPart{Epoch: 2, ID: 77, Size: 3, Data: []byte("abc")}},
		{"record-part-refused", "the device allows none", RecordPart{Epoch: 2, ID: 77, Error: Errorf(CodeRefused, "no recordings")}},
		{"replay-order", "what failed of a run, again", ReplayOrder{
			Epoch: 2, ID: 78, Expires: 1_700_000_000_000,
			Event: Event{Run: RunID{1, 2, 3}, Workflow: "guard", Revision: 7, Time: Stamp{1_690_000_000_000, QualityClock}, Data: MustMarshal(80)},
			Steps: []StepName{"act", "tell"}, Done: []StepName{"act"},
			Results: []Result{{Run: RunID{1, 2, 3}, Workflow: "guard", Step: "act", Type: Action, Status: StatusOK, Tries: 1}},
		}},
		{"replay-answer", "taken", ReplayAnswer{Epoch: 2, ID: 78}},
		{"replay-answer-refused", "too late", ReplayAnswer{Epoch: 2, ID: 78, Error: Errorf(CodeDeadline, "expired")}},
		{"carried", "a gateway passes on what a neighbour said", Carried{
			Agent: "pump", Kind: UpPresence, Payload: MustMarshal(Presence{Online: true, Boot: 7, Session: 3}),
		}},
		{"uplink", "a gateway reaches the hub", Uplink{Up: true}},
		{"uplink-same", "a gateway reaches the hub, as before", Uplink{Up: true, Same: true}},
		{"uplink-cut", "and does not", Uplink{}},
		{"probe", "goes up and comes down", Probe{Nonce: 1 << 40}},
		{"join-request", "with a token", JoinRequest{
			TokenID: []byte("12345678"), Secret: []byte("0123456789abcdef"), Address: berlin, CSR: []byte{0x30, 0},
			Device: Device{Platform: "linux-armv7", Engine: "interpreter", Version: "0.1.0"},
		}},
		{"join-reply", "an identity", JoinReply{
			Address: berlin, Epoch: 2, Certificate: []byte{0x30, 1}, CA: []byte{0x30, 2}, Root: testRoot.Public().Key,
			Keyring: []byte{0xd2}, Time: sampleTime.UnixMS,
		}},
		{"join-reply-refused", "a token used up", JoinReply{Error: Errorf(CodeRefused, "token used up"), Time: 1}},
		{"keyring", "one key a role", testRing},
		{"release", "a built version", sampleRelease()},
		{"release-engine", "a built version that an engine runs", sampleScript()},
		{"desired", "an assignment with every field", sampleDesired()},
		{"desired-elsewhere", "a step that others run, and one that is run for another", sampleElsewhere()},
	}
}
