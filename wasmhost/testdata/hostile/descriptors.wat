;; Opens files until there are no more descriptors; then answers if none was opened.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\"hello\":{\"abi\":1,\"type\":\"action\",\"plugin\":\"hostile\",\"sdk\":\"wat\"}}\n")
  (data (i32.const 1280) "{\"ready\":{}}\n")
  (data (i32.const 1536) "{\"id\":1,\"answer\":{}}\n")
  (data (i32.const 1600) "/proc/self/environ")

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

  (func $open_all
    (local $n i32)
    (loop $again
      (if (i32.eqz (call $open (i32.rem_u (local.get $n) (i32.const 16)) (i32.const 1) (i32.const 1600) (i32.const 18)
          (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 16)))
        (then (unreachable)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 10000)))))

  (func (export "_start")
    (call $say (i32.const 1024) (i32.const 67))
    (call $hear) ;; init
    (call $say (i32.const 1280) (i32.const 13))
    (call $hear) ;; the first request
    (call $open_all)
    (call $say (i32.const 1536) (i32.const 21))
    (call $hear)))
