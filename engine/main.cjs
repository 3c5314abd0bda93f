// Entry of the Node program inside an engine child, as the worker starts it. CommonJS,
// which starts without Node's loader of ES modules.

"use strict";

void require("./start.cjs").start();
