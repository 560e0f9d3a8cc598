;; Hands the host addresses and lengths that are not in its memory; then answers if it was told so each time.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\"hello\":{\"abi\":1,\"type\":\"action\",\"plugin\":\"hostile\",\"sdk\":\"wat\"}}\n")
  (data (i32.const 1280) "{\"ready\":{}}\n")
  (data (i32.const 1536) "{\"id\":1,\"answer\":{}}\n")

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

  (func (export "_start")
    (call $say (i32.const 1024) (i32.const 67))
    (call $hear) ;; init
    (call $say (i32.const 1280) (i32.const 13))
    (call $hear) ;; the first request
    ;; a vector behind the end of memory
    (if (i32.eqz (call $write (i32.const 1) (i32.const 0xfffffff0) (i32.const 1) (i32.const 16))) (then (unreachable)))
    ;; two thousand million vectors
    (if (i32.eqz (call $write (i32.const 1) (i32.const 0) (i32.const 0x7fffffff) (i32.const 16))) (then (unreachable)))
    ;; a vector whose bytes lie behind the end of memory
    (i32.store (i32.const 0) (i32.const 65535))
    (i32.store (i32.const 4) (i32.const 0x7fffffff))
    (if (i32.eqz (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))) (then (unreachable)))
    (if (i32.eqz (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16))) (then (unreachable)))
    ;; randomness and the time to nowhere
    (if (i32.eqz (call $random (i32.const 65535) (i32.const 0x7fffffff))) (then (unreachable)))
    (if (i32.eqz (call $time (i32.const 0) (i64.const 1) (i32.const 0xfffffffc))) (then (unreachable)))
    (if (i32.eqz (call $poll (i32.const 0xffffff00) (i32.const 0) (i32.const 0x7fffffff) (i32.const 16))) (then (unreachable)))
    (call $say (i32.const 1536) (i32.const 21))
    (call $hear)))
