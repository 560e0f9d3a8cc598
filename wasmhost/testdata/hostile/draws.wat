;; Draws randomness without end: the host works, and the guest pays next to nothing.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\"hello\":{\"abi\":1,\"type\":\"action\",\"plugin\":\"hostile\",\"sdk\":\"wat\"}}\n")
  (data (i32.const 1280) "{\"ready\":{}}\n")

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
    (loop $again
      (drop (call $random (i32.const 4096) (i32.const 60000)))
      (br $again))))
