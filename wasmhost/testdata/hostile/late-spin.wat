;; Answers, and when nobody asks for a millisecond works for ever.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\"hello\":{\"abi\":1,\"type\":\"action\",\"plugin\":\"hostile\",\"sdk\":\"wat\"}}\n")
  (data (i32.const 1280) "{\"ready\":{}}\n")
  (data (i32.const 1536) "{\"id\":     ,\"answer\":{}}\n")

  ;; say writes len bytes at an address to stdout.
  (func $say (param $at i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $len))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))

  ;; hear reads what there is to read to 4096.
  (func $hear
    (i32.store (i32.const 0) (i32.const 4096))
    (i32.store (i32.const 4) (i32.const 60000))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16))))

  ;; number writes n into the answer, right-aligned before the comma.
  (func $number (param $n i32)
    (local $at i32)
    (local.set $at (i32.const 1546))
    (loop $digit
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $digit (local.get $n))))

  ;; doze waits for stdin, a millisecond at most, and says whether that was over first.
  (func $doze (result i32)
    (i64.store (i32.const 2048) (i64.const 1))          ;; user data: the clock
    (i32.store8 (i32.const 2056) (i32.const 0))
    (i32.store (i32.const 2064) (i32.const 1))          ;; that goes on steadily
    (i64.store (i32.const 2072) (i64.const 1000000))
    (i32.store8 (i32.const 2104) (i32.const 1))         ;; stdin
    (drop (call $poll (i32.const 2048) (i32.const 2304) (i32.const 2) (i32.const 2560)))
    (i32.and (i32.eq (i32.load (i32.const 2560)) (i32.const 1))
      (i64.eq (i64.load (i32.const 2304)) (i64.const 1))))

  (func $work
    (local $n i32)
    (loop $again
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (call $number (local.get $n))
      (call $say (i32.const 1536) (i32.const 25))
      (if (call $doze) (then
        (loop $ever (br $ever))))
      (call $hear)
      (br $again)))

  (func (export "_start")
    (call $say (i32.const 1024) (i32.const 67))
    (call $hear) ;; init
    (call $say (i32.const 1280) (i32.const 13))
    (call $hear) ;; the first request
    (call $work)))
