// SPDX-License-Identifier: MIT
// Styles are bundled, not looked into.
declare module "*.css";
