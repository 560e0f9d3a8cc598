;; Has a number where it should be started.
(module
  (memory (export "memory") 1)
  (global (export "_start") i32 (i32.const 1)))
