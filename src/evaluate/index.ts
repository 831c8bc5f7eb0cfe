/** Datasets with true answers, metrics, reports. */

export type { Box } from "./boxes"
export { type AnswerToken, leafConfidences } from "./confidence"
export { type Dataset, type DatasetFile, type DatasetImage, readDataset } from "./dataset"
export { averagePrecision, type DetectionScores, detectionScores, type FoundBox, type TrueBox } from "./detection"
export { type Answered, type Prediction, type Predictions, readPredictions } from "./predictions"
export {
  type Asked,
  type AskingOptions,
  checkTasks,
  EVAL_TASKS,
  type EvalTask,
  questionsAbout,
  tasksOf,
} from "./questions"
export { type EvalReport, reportMarkdown, reportText } from "./report"
export { type EvalCase, type Evaluation, scoreDataset, type TaskReports } from "./score-dataset"
